"""Every sampler against diffusers from the same noise, against closed forms, and its order."""

from itertools import pairwise
from math import log

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.adaptive import Adaptive
from aigc.families.diffusion.editing import Inpaint, Interpolate, SDEdit
from aigc.families.diffusion.guidance import Guidance
from aigc.families.diffusion.hub import Diffusers
from aigc.families.diffusion.multistep import DPMpp2M, UniPC
from aigc.families.diffusion.objective import Denoiser
from aigc.families.diffusion.sampling import DDIM, Ancestral, Euler, Heun
from aigc.families.diffusion.schedules import VP, Cosine, Linear, LogNormal, Straight, expand

MEANS = torch.tensor([[0.7, 0.2], [-0.5, 0.5], [0.0, -0.8]], dtype=torch.float64)
SD = 0.15


def estimate(x, alpha, sigma):
    """The exact `E[x_0 | x_t]` of a mixture of three Gaussians."""
    alpha, sigma = (torch.as_tensor(a).double().reshape(-1, 1) for a in (alpha, sigma))
    variance = (alpha * SD) ** 2 + sigma**2
    logits = -0.5 * (x[:, None].double() - alpha[..., None] * MEANS).square().sum(-1) / variance
    centre = logits.softmax(1) @ MEANS
    return (centre + alpha * SD**2 / variance * (x.double() - alpha * centre)).to(x.dtype)


def mixture(schedule):
    def denoise(x, t):
        alpha, sigma = schedule(t)
        return estimate(x, alpha, sigma)

    return denoise


def noise(schedule, n: int = 32, seed: int = 1):
    return schedule.prior * Rng(seed, torch.arange(n)).normal(2).double()


def last(sampler, schedule, x, rng=None):
    *_, x = sampler(mixture(schedule), x, schedule, rng)
    return x


def theirs(scheduler, steps: int, x, flow: bool = False):
    """A scheduler of diffusers on the exact denoiser, at the noise that it says it is at."""
    scheduler.set_timesteps(steps)
    x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for i, k in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i].double()
        if flow:
            out = (x - estimate(x, 1 - sigma, sigma)) / sigma
        else:
            alpha = 1 / (1 + sigma**2).sqrt()
            x_t = scheduler.scale_model_input(x, k)
            out = (x_t - alpha * estimate(x_t, alpha, alpha * sigma)) / (alpha * sigma)
        x = scheduler.step(out, k, x).prev_sample.double()
    return x


SHARED = [
    (Euler(50), "EulerDiscreteScheduler", {}),
    (Heun(50), "HeunDiscreteScheduler", {}),
    (DPMpp2M(20), "DPMSolverMultistepScheduler", {}),
    (DPMpp2M(20, grid="karras"), "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    (DPMpp2M(20, grid="exponential"), "DPMSolverMultistepScheduler", {"exponential": True}),
    (UniPC(20), "UniPCMultistepScheduler", {}),
    (UniPC(8), "UniPCMultistepScheduler", {}),
    (UniPC(20, grid="karras"), "UniPCMultistepScheduler", {"use_karras_sigmas": True}),
]


@pytest.mark.parametrize(("ours", "name", "options"), SHARED, ids=lambda v: str(v)[:40])
def test_a_shared_sampler_equals_that_of_diffusers(ours, name: str, options: dict):
    import diffusers

    if "exponential" in options:
        options = {"use_exponential_sigmas": True}
    schedule = Linear()
    scheduler = getattr(diffusers, name)(
        trained_betas=schedule.betas().numpy(), timestep_spacing="trailing", **options
    )
    x = noise(schedule)
    assert (last(ours, schedule, x) - theirs(scheduler, ours.steps, x)).abs().max() < 1e-4


@pytest.mark.parametrize(
    "name", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"]
)
def test_a_flow_sampler_equals_that_of_diffusers(name: str):
    import diffusers

    ours = (Heun if "Heun" in name else Euler)(20, grid="uniform")
    x = noise(Straight())
    wanted = theirs(getattr(diffusers, name)(), 20, x, flow=True)
    assert (last(ours, Straight(), x) - wanted).abs().max() < 1e-4


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_ddim_equals_that_of_diffusers(schedule):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        trained_betas=schedule.betas().numpy(), clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.sigmas = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
    scheduler.set_timesteps(50)
    scheduler.sigmas = scheduler.sigmas[scheduler.timesteps]
    x = noise(schedule)
    # The cosine schedule's last alpha is 5e-5: their float32 leaves few digits after one step.
    limit = 1e-4 if isinstance(schedule, Linear) else 2e-3
    assert (last(DDIM(50), schedule, x) - theirs(scheduler, 50, x)).abs().max() < limit


def order(make, schedule, steps=(20, 40, 80, 160), **options) -> float:
    """The slope of the log error against log steps, from the limit of the same grid."""
    x = noise(schedule)
    truth = last(Heun(1200, **options), schedule, x)
    errors = [float((last(make(n), schedule, x) - truth).abs().mean()) for n in steps]
    logs = torch.tensor(errors).log()
    ticks = torch.tensor([log(n) for n in steps])
    return float(((logs - logs.mean()) * (ticks - ticks.mean())).sum() / ticks.var() / 3)


@pytest.mark.parametrize("schedule", [LogNormal(), VP(), Straight()], ids=["edm", "vp", "straight"])
def test_euler_is_of_first_order_and_heun_of_second(schedule):
    grid = {"grid": "karras"}
    assert order(lambda n: Euler(n, **grid), schedule, **grid) == pytest.approx(-1, abs=0.15)
    assert order(lambda n: Heun(n, **grid), schedule, **grid) == pytest.approx(-2, abs=0.2)


def test_multistep_solvers_are_of_second_order_for_one_evaluation_a_step():
    for make in (DPMpp2M, UniPC):
        found = order(lambda n, m=make: m(n, grid="karras"), VP(), grid="karras")
        assert found < -1.7, make


def test_heun_with_churn_is_algorithm_2_of_edm():
    schedule, steps = LogNormal(), 18
    x = noise(schedule)
    sigmas = schedule(Heun(steps, grid="karras").times(schedule))[1].tolist()
    rng, wanted = Rng(3, torch.arange(32)), x
    for now, then in pairwise(sigmas):
        gamma = min(40 / steps, 2**0.5 - 1) if 0.05 <= now <= 50 else 0
        hat = now * (1 + gamma)
        if gamma:
            extra = (hat**2 - now**2) ** 0.5
            wanted = wanted + 1.003 * extra * rng.normal(2)
        d = (wanted - estimate(wanted, 1.0, hat)) / hat
        ahead = wanted + (then - hat) * d
        if then:
            ahead = wanted + (then - hat) * (d + (ahead - estimate(ahead, 1.0, then)) / then) / 2
        wanted = ahead
    ours = Heun(steps, grid="karras", churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003)
    found = last(ours, schedule, x, Rng(3, torch.arange(32)))
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("schedule", [Linear(), VP(), LogNormal(), Straight()], ids=str)
@pytest.mark.parametrize(
    "sampler",
    [
        Euler(60, grid="karras"), Heun(30, grid="karras", churn=20.0), Ancestral(200),
        DPMpp2M(40, grid="karras"), UniPC(40, grid="exponential"), Adaptive(),
    ],
    ids=lambda s: type(s).__name__,
)  # fmt: skip
def test_every_sampler_draws_the_mixture(sampler, schedule):
    rng = Rng(0, torch.arange(4000))
    x = last(sampler, schedule, schedule.prior * rng.normal(2).double(), rng)
    distance, mode = (x[:, None] - MEANS).square().sum(-1).min(1)
    assert (torch.bincount(mode, minlength=3) / 4000 - 1 / 3).abs().max() < 0.04
    assert (distance.mean() / 2) ** 0.5 == pytest.approx(SD, rel=0.12)


def test_the_adaptive_solver_keeps_its_tolerance_and_its_rows_apart():
    schedule = VP()
    x = noise(schedule)
    truth = last(Heun(1200, grid="karras"), schedule, x)
    errors = [(last(Adaptive(tolerance=e), schedule, x) - truth).abs().mean() for e in (1e-2, 1e-4)]
    assert errors[0] < 0.05 and errors[1] < 1e-3
    alone = last(Adaptive(), schedule, x[5:6])
    assert torch.allclose(alone, last(Adaptive(), schedule, x)[5:6], atol=1e-12)


def test_the_adapter_equals_our_own_samplers():
    schedule, x = Linear(), noise(Linear()).float()
    pairs = [
        (DDIM(40), "DDIMScheduler"), (Euler(40), "EulerDiscreteScheduler"),
        (UniPC(20), "UniPCMultistepScheduler"), (Heun(20), "HeunDiscreteScheduler"),
    ]  # fmt: skip
    rng = Rng(0, torch.arange(32))
    for ours, name in pairs:
        adapter = Diffusers(ours.steps, scheduler=name)
        assert (last(adapter, schedule, x, rng) - last(ours, schedule, x)).abs().max() < 1e-3, name
    flow = Diffusers(20, scheduler="FlowMatchEulerDiscreteScheduler")
    ours = Euler(20, grid="uniform")
    assert (last(flow, Straight(), x, rng) - last(ours, Straight(), x)).abs().max() < 1e-4


def test_noise_in_the_adapter_belongs_to_the_sample():
    adapter = Diffusers(10, scheduler="EulerAncestralDiscreteScheduler")
    many, few = (Rng(2, torch.arange(n)) for n in (8, 3))
    x = noise(Linear(), 8).float()
    whole = last(adapter, Linear(), x, many)
    assert torch.equal(last(adapter, Linear(), x[:3], few), whole[:3])


def test_the_adapter_refuses_what_it_cannot_drive():
    x = noise(Linear())
    for name, words in (
        (
            "EulerDiscretScheduler",
            "unknown sampler.scheduler .*did you mean 'EulerDiscreteScheduler'",
        ),
        ("EDMEulerScheduler", "takes no betas"),
        ("FlowMatchEulerDiscreteScheduler", "does not follow the path linear"),
    ):
        with pytest.raises(BadInput, match=words):
            last(Diffusers(scheduler=name), Linear(), x, Rng(0, torch.arange(32)))
    with pytest.raises(BadInput, match="unexpected keyword"):
        last(Diffusers(scheduler="DDIMScheduler", options={"foo": 1}), Linear(), x)


def constant(value: float) -> Denoiser:
    return Denoiser(lambda x, t: (torch.full_like(x, value), x.new_zeros(())))


def test_guidance_extrapolates_within_its_interval():
    strong, weak, x = constant(1.0), constant(0.5), torch.zeros(3, 2)
    guided = Guidance(3.0, (0.2, 0.8))(strong, weak)
    t = torch.tensor([0.1, 0.2, 0.9])
    assert guided(x, t)[:, 0].tolist() == [1.0, 2.0, 1.0]
    assert torch.equal(Guidance(1.0)(strong, weak)(x, t), strong(x, t))
    assert torch.equal(Guidance(0.0)(strong, weak)(x, t), weak(x, t))


def test_rescaled_guidance_is_that_of_diffusers():
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    torch.manual_seed(0)
    a, b, x = torch.randn(3, 4, 3, 5, 5).unbind(0)
    guided = Guidance(5.0, rescale=0.7)(
        Denoiser(lambda x, t: (a, None)), Denoiser(lambda x, t: (b, None))
    )
    wanted = rescale_noise_cfg(b + 5 * (a - b), a, guidance_rescale=0.7)
    assert torch.allclose(guided(x, torch.ones(4)), wanted, atol=1e-5)
    with pytest.raises(BadInput, match="two times"):
        Guidance(2.0, (0.8, 0.2))


def test_guidance_of_a_gaussian_has_its_closed_form():
    """Class N(m, s^2), all N(0, s^2): both estimates are linear, and the guided flow moves the
    mean to w m."""
    schedule, s, m, w = VP(), 0.5, 0.3, 2.0

    def normal(mean):
        def whole(x, t):
            alpha, sigma = (expand(a, x) for a in schedule(t))
            gain = alpha * s**2 / (alpha**2 * s**2 + sigma**2)
            return mean + gain * (x - alpha * mean), x.new_zeros(())

        return Denoiser(whole)

    x = Rng(0, torch.arange(4000)).normal(1).double()
    *_, x = Heun(60)(Guidance(w)(normal(m), normal(0.0)), x, schedule, None)
    assert x.mean() == pytest.approx(w * m, abs=0.03) and x.std() == pytest.approx(s, abs=0.02)


@pytest.mark.parametrize(
    "inner", [DDIM(80), Ancestral(80), Heun(40), UniPC(40), Adaptive()], ids=lambda s: str(s)[:6]
)
def test_inpainting_keeps_what_is_known_and_fits_the_rest(inner):
    """The first coordinate given at a mode's: the second follows it, but for those samples that
    the replacement method leaves where high noise had sent them."""
    schedule, rng = VP(), Rng(0, torch.arange(500))
    known = torch.tensor([[0.7, 9.0], [-0.5, 9.0]])
    mask = torch.tensor([[True, False]])
    x = last(Inpaint(inner, known, mask), schedule, rng.normal(2).double(), rng)
    assert torch.allclose(x[:, 0], known[:, 0].double().repeat(250), atol=1e-9)
    for k in (0, 1):
        near = (x[k::2, 1] - MEANS[k, 1]).abs() < 3 * SD
        assert near.double().mean() > 0.5  # a third without what is known
        assert x[k::2, 1][near].mean() == pytest.approx(float(MEANS[k, 1]), abs=0.08)


def test_sdedit_forgets_with_strength():
    schedule, known = VP(), MEANS[:1].float()
    near = []
    for strength in (0.05, 0.5, 1.0):
        rng = Rng(0, torch.arange(600))
        x = last(SDEdit(DDIM(60), known, strength), schedule, rng.normal(2).double(), rng)
        mode = (x[:, None] - MEANS).square().sum(-1).argmin(1)
        near.append(float((mode == 0).double().mean()))
    assert near[0] == 1.0 and near[0] > near[1] > near[2] == pytest.approx(1 / 3, abs=0.07)
    with pytest.raises(BadInput, match="strength=0"):
        SDEdit(DDIM(), known, 0.0)


def test_interpolation_ends_at_what_is_given():
    schedule, rng = VP(), Rng(0, torch.arange(10))
    known = MEANS + torch.tensor([0.1, -0.05])
    sampler = Interpolate(DDIM(400, grid="karras"), known, 5)
    x = last(sampler, schedule, rng.normal(2).double(), rng)
    assert (x[[0, 4, 5, 9]] - known[[0, 1, 1, 2]]).abs().max() < 0.05
