"""Schedules and samplers agree with diffusers from the same noise."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Cosine, Linear, expand, first_step, target, to_x0
from aigc.families.diffusion.sampling import DDIM, Heun

OURS_AND_THEIRS = [(Linear(), "linear"), (Cosine(), "squaredcos_cap_v2")]


@pytest.mark.parametrize(("schedule", "name"), OURS_AND_THEIRS, ids=["linear", "cosine"])
def test_alpha_and_sigma_equal_those_of_diffusers(schedule, name: str):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, beta_schedule=name).alphas_cumprod
    alpha, sigma = schedule(torch.arange(1, 1001) / 1000)
    assert (alpha - theirs.sqrt()).abs().max() < 1e-6
    assert (sigma**2 - (1 - theirs)).abs().max() < 1e-6  # theirs is float32: no root near zero
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(1000, dtype=torch.float64))


@pytest.mark.parametrize(("schedule", "name"), OURS_AND_THEIRS, ids=["linear", "cosine"])
def test_ddim_equals_that_of_diffusers(schedule, name: str):
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        1000,
        beta_schedule=name,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(50)
    torch.manual_seed(0)
    weight = torch.randn(6, 6) / 4

    def eps(x, t):
        return x @ weight + t

    def denoise(x, t):
        alpha, sigma = (expand(a, x) for a in schedule(t))
        return (x - sigma * eps(x, t[0])) / alpha

    x = torch.randn(5, 6)
    *_, ours = DDIM(50)(denoise, x, schedule, None)
    for k in theirs.timesteps:
        x = theirs.step(eps(x, (k + 1) / 1000), k, x).prev_sample
    # The cosine schedule's last alpha is 5e-5: float32 leaves few digits after the first step.
    assert (ours - x).abs().max() / x.abs().max() < (1e-4 if name == "linear" else 2e-3)


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_prediction_and_estimate_are_inverse(predict: str):
    schedule = Cosine()
    x_0, eps = torch.randn(16, 3).double(), torch.randn(16, 3).double()
    alpha, sigma = schedule(torch.linspace(0.01, 0.9, 16))
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    wanted = target(x_0, eps, alpha, sigma, predict)
    assert torch.allclose(to_x0(wanted, x_t, alpha, sigma, predict), x_0, atol=1e-9)


def test_between_nodes_the_schedule_is_monotone():
    alpha, sigma = Cosine(100)(torch.linspace(0, 1, 5001))
    assert (alpha.diff() <= 0).all() and (sigma.diff() >= 0).all()
    assert alpha[0] == 1 and sigma[0] == 0


def test_the_chain_starts_where_noise_reaches_the_wanted_size():
    schedule = Cosine()
    k = first_step(schedule, 0.05)
    alpha, sigma = schedule(torch.tensor([k - 1, k]) / 1000)
    assert (sigma / alpha)[0] < 0.05 <= (sigma / alpha)[1]
    assert first_step(schedule, 0.0) == 1


def test_evaluations_and_bad_steps():
    calls = 0

    def denoise(x, t):
        nonlocal calls
        calls += 1
        return x * 0

    x = Rng(0, torch.arange(2)).normal(3)
    for sampler, nfe in ((DDIM(7), 7), (Heun(7), 13), (DDIM(5000), 1000)):
        calls = 0
        assert len(list(sampler(denoise, x, Cosine(), None))) == min(sampler.steps, 1000)
        assert calls == nfe
    with pytest.raises(BadInput, match="at least 1"):
        DDIM(0)
