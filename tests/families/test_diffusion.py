"""Schedules agree with diffusers, predictions with algebra, weightings with their papers."""

from dataclasses import replace
from math import log

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.likelihood import flow_nats
from aigc.families.diffusion.objective import (
    WEIGHTS,
    Denoiser,
    Objective,
    bound,
    first_step,
    gaussian_kl,
)
from aigc.families.diffusion.predictions import EDM, PREDICTIONS, V
from aigc.families.diffusion.sampling import DDIM, Ancestral, Euler, Heun
from aigc.families.diffusion.schedules import (
    VP,
    Cosine,
    Linear,
    LogNormal,
    Sigmoid,
    Straight,
    expand,
)

CHAINS = {"linear": Linear(), "squaredcos_cap_v2": Cosine(), "sigmoid": Sigmoid()}
PATHS = [Linear(), Cosine(), Sigmoid(), Straight(), VP(), LogNormal()]
names = {"ids": lambda s: type(s).__name__}


@pytest.mark.parametrize("name", CHAINS)
def test_alpha_and_sigma_equal_those_of_diffusers(name: str):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(1000, beta_schedule=name).alphas_cumprod
    alpha, sigma = CHAINS[name](torch.arange(1, 1001) / 1000)
    assert (alpha - theirs.sqrt()).abs().max() < 1e-6
    assert (sigma**2 - (1 - theirs)).abs().max() < 1e-6  # theirs is float32: no root near zero
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(1000, dtype=torch.float64))


def test_grids_of_edm_and_of_flows_equal_those_of_diffusers():
    from diffusers import EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

    for name in ("karras", "exponential"):
        theirs = EDMEulerScheduler(sigma_schedule=name)
        theirs.set_timesteps(18)
        _, sigma = LogNormal()(Euler(18, grid=name).times(LogNormal()))
        assert torch.allclose(sigma.float(), theirs.sigmas, rtol=1e-5, atol=1e-6)
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(20)
    alpha, sigma = Straight()(Euler(20, grid="uniform").times(Straight()))
    assert (sigma - theirs.sigmas).abs().max() < 1e-6 and torch.allclose(alpha, 1 - sigma)


@pytest.mark.parametrize("schedule", PATHS, **names)
def test_noise_rises_from_nothing_and_time_inverts_it(schedule):
    t = torch.linspace(0, 1, 5001, dtype=torch.float64)
    alpha, sigma = schedule(t)
    noise = sigma / schedule.scale(alpha, sigma)
    assert (noise.diff() >= 0).all() and alpha[0] == 1 and sigma[0] == 0
    inner = slice(10, None)  # above the lowest node, where chains and EDM interpolate
    assert torch.allclose(schedule.time(noise[inner]), t[inner], atol=1e-6)


@pytest.mark.parametrize("schedule", [Straight(), VP()], **names)
def test_rates_are_derivatives(schedule):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    for k in (0, 1):
        difference = (schedule(t + 1e-6)[k] - schedule(t - 1e-6)[k]) / 2e-6
        assert torch.allclose(schedule.rate(t)[k], difference, atol=1e-5)


PAIRS = [(p, s) for p in PREDICTIONS for s in PATHS if p != "flow" or hasattr(s, "rate")]


@pytest.mark.parametrize(("predict", "schedule"), PAIRS, ids=lambda v: str(v).split("(")[0])
def test_prediction_and_estimate_are_inverse(predict: str, schedule):
    prediction, t = PREDICTIONS[predict](), torch.linspace(0.01, 0.9, 16)
    x_0, eps = torch.randn(16, 3).double(), torch.randn(16, 3).double()
    alpha, sigma = schedule(t)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    wanted = prediction.target(x_0, eps, schedule, t)
    c_skip, c_out = prediction.coefficients(schedule, t)
    assert torch.allclose(expand(c_skip, x_0) * x_t + expand(c_out, x_0) * wanted, x_0, atol=1e-9)


def test_edm_has_inputs_and_targets_of_unit_variance():
    torch.manual_seed(0)
    edm, schedule, t = EDM(0.5), LogNormal(), torch.rand(1) * torch.ones(200_000)
    x_0, eps = 0.5 * torch.randn(2, 200_000, 1).unbind(0)[0], torch.randn(200_000, 1)
    x_t = x_0 + expand(schedule(t)[1], x_0) * eps
    assert edm.scaled(x_t, schedule, t).std() == pytest.approx(1, abs=0.01)
    assert edm.target(x_0, eps, schedule, t).std() == pytest.approx(1, abs=0.01)
    c_skip, c_out = edm.coefficients(schedule, t[:1])  # table 1 at alpha = 1
    sigma = schedule(t[:1])[1]
    assert torch.allclose(c_skip, 0.25 / (sigma**2 + 0.25))
    assert torch.allclose(c_out, sigma * 0.5 / (sigma**2 + 0.25).sqrt())


def test_flow_on_the_straight_path_is_noise_minus_data():
    x_0, eps, t = torch.randn(4, 3), torch.randn(4, 3), torch.rand(4)
    assert torch.equal(PREDICTIONS["flow"]().target(x_0, eps, Straight(), t), eps - x_0)
    with pytest.raises(BadInput, match="cosine has no velocity"):
        PREDICTIONS["flow"]().target(x_0, eps, Cosine(), t)


def test_weightings_are_those_of_their_papers():
    t = torch.linspace(0.05, 0.95, 19)
    alpha, sigma = Cosine()(t)
    snr = (alpha / sigma) ** 2
    c2 = {p: PREDICTIONS[p]().coefficients(Cosine(), t)[1] ** 2 for p in ("x0", "eps", "v")}
    least = snr.clamp(max=5)
    for predict, wanted in (("x0", least), ("eps", least / snr), ("v", least / (snr + 1))):
        assert torch.allclose(WEIGHTS["min_snr"](snr, c2[predict]), wanted)
    assert torch.allclose(WEIGHTS["p2"](snr, c2["eps"]), 1 / (1 + snr))


@pytest.mark.parametrize("weight", ["min_snr", "p2"])
def test_weighted_losses_do_not_depend_on_what_is_predicted(weight: str):
    """The same estimate of `x_0`, said in three ways, costs the same."""
    schedule, x_0 = Cosine(), torch.randn(64, 3).double()
    values = []
    for predict in ("x0", "eps", "v"):
        prediction = PREDICTIONS[predict]()

        def net(x_t, t, y, prediction=prediction):
            c_skip, c_out = (expand(c, x_t) for c in prediction.coefficients(schedule, t))
            return (0.3 * x_t - c_skip * x_t) / c_out  # always estimates 0.3 x_t

        torch.manual_seed(0)
        values.append(float(Objective(schedule, prediction, weight).loss(net, x_0, None)))
    assert values == pytest.approx([values[0]] * 3)


def test_learned_variance_minimises_the_bound_at_the_true_one():
    """The KL between Gaussians against torch's own, and L_hybrid's gradient: none to the mean."""
    torch.manual_seed(0)
    schedule, t, s = Linear(), torch.tensor([0.3, 0.7]), torch.tensor([0.299, 0.699])
    x_0, x0, fraction = torch.randn(3, 2, 5, dtype=torch.float64).unbind(0)
    kl = gaussian_kl(x_0, x0, fraction, schedule, t, s)
    (alpha, sigma), (alpha_s, sigma_s) = ([expand(a, x_0) for a in schedule(u)] for u in (t, s))
    beta = sigma**2 - (alpha / alpha_s * sigma_s) ** 2
    tilde = beta * (sigma_s / sigma) ** 2
    to_mean = alpha_s * beta / sigma**2  # DDPM eq. 7: what the posterior mean has of x_0
    spread = (fraction * beta.log() + (1 - fraction) * tilde.log()).mul(0.5).exp()
    ours = torch.distributions.Normal(to_mean * x0, spread)
    posterior = torch.distributions.Normal(to_mean * x_0, tilde.sqrt())
    assert torch.allclose(kl, torch.distributions.kl_divergence(posterior, ours), rtol=1e-6)

    out = torch.zeros(8, 6, requires_grad=True)
    plain, hybrid = (Objective(schedule, V(), learned=flag) for flag in (False, True))
    grads = []
    for objective, width in ((plain, 3), (hybrid, 6)):
        torch.manual_seed(1)
        value = objective.loss(lambda x, t, y, w=width: out[:, :w], torch.ones(8, 3), None)
        grads.append(torch.autograd.grad(value, out)[0])
    assert torch.equal(grads[0][:, :3], grads[1][:, :3])
    assert (grads[1][:, 3:] != 0).any()


def test_ancestral_steps_use_the_learned_variance():
    schedule, rng = Linear(), Rng(0, torch.arange(20_000))
    x = torch.zeros(20_000, 1)
    for fraction in (0.0, 0.5, 1.0):
        denoise = Denoiser(lambda x, t, f=fraction: (0 * x, torch.full_like(x, f)))
        state = next(iter(Ancestral(50)(denoise, x, schedule, rng)))
        (sigma, sigma_s) = schedule(torch.tensor([1.0, 0.98]))[1]
        alpha, alpha_s = schedule(torch.tensor([1.0, 0.98]))[0]
        beta = sigma**2 - (alpha / alpha_s * sigma_s) ** 2
        wanted = beta**fraction * (beta * (sigma_s / sigma) ** 2) ** (1 - fraction)
        assert state.var().item() == pytest.approx(float(wanted), rel=0.05)


@pytest.mark.parametrize("schedule", PATHS, **names)
def test_the_ode_gives_the_density_of_a_gaussian(schedule):
    torch.manual_seed(0)
    mean, sd = torch.tensor([0.2, -0.4]), torch.tensor([0.5, 0.3])

    def denoise(x, t):
        alpha, sigma = (expand(a, x) for a in schedule(t))
        return mean + alpha * sd**2 / (alpha**2 * sd**2 + sigma**2) * (x - alpha * mean)

    x = mean + sd * torch.randn(64, 2)
    quantum = torch.tensor(1e-3)
    found = flow_nats(denoise, x, schedule, quantum) + 2 * log(1e-3)
    exact = -torch.distributions.Normal(mean, sd).log_prob(x).sum(1)
    assert (found - exact).abs().max() < 0.03


@pytest.mark.parametrize("schedule", PATHS, **names)
def test_the_bound_is_above_the_density_and_near_it(schedule):
    """For a Gaussian the exact denoiser leaves the gap of a chain that expects networks to round:
    log(1/2)/2 + 1/2 nats (see `_first_nats`)."""
    torch.manual_seed(0)
    schedule = replace(schedule, steps=20_000)

    def denoise(x, t):
        alpha, sigma = (expand(a, x) for a in schedule(t))
        return alpha * 0.16 / (alpha**2 * 0.16 + sigma**2) * x

    x, quantum = 0.4 * torch.randn(2000, 1).double(), torch.tensor(0.02).double()
    nats = bound(denoise, x, schedule, quantum, 400) + log(0.02)
    entropy = 0.5 * log(2 * torch.pi * torch.e * 0.16)
    assert entropy < nats.mean() < entropy + 0.2


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
    with pytest.raises(BadInput, match=r"unknown sampler.grid 'karas'.*did you mean 'karras'"):
        DDIM(5, grid="karas")
