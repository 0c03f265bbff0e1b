"""Denoising diffusion: noise schedules, what the network predicts, the loss and the bound.

Notation of Ho et al. 2020 ("DDPM") and Kingma et al. 2021 ("VDM"): `x_t = alpha x_0 + sigma eps`
with `alpha**2 + sigma**2 = 1`, time `t` in [0, 1], `SNR = alpha**2 / sigma**2`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import cos, pi

import torch
from torch import Tensor

from aigc.families.likelihoods import discretized_gaussian

Net = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Denoise = Callable[[Tensor, Tensor], Tensor]  # (x_t, t) -> estimate of x_0


@dataclass(frozen=True)
class Schedule:
    """A discrete chain of `steps` betas, as `(alpha, sigma)` at any `t` in [0, 1].

    At `t = k / steps` the values are those of step `k` exactly; between, `log alpha` is
    interpolated.
    """

    steps: int = 1000

    def betas(self) -> Tensor:
        """The variances `(steps,)`, float64."""
        raise NotImplementedError

    @cached_property
    def log_alpha(self) -> Tensor:
        """`log alpha` at `t = 0, 1/steps, ..., 1`, float64."""
        return torch.cat([torch.zeros(1), 0.5 * torch.log1p(-self.betas()).cumsum(0)])

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`alpha, sigma` of times `t (B,)`, float64 `(B,)`."""
        table = self.log_alpha.to(t.device)
        place = t.double() * self.steps
        # A time like 3/1000 is not exact in floats; a place this close to a node is that node.
        place = torch.where((place - place.round()).abs() < 1e-3, place.round(), place)
        low = place.floor().long().clamp(0, self.steps - 1)
        part = place - low
        log_alpha = table[low] * (1 - part) + table[low + 1] * part
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()


@dataclass(frozen=True)
class Linear(Schedule):
    """Betas from 1e-4 to 0.02 (Ho et al. 2020), scaled so that fewer steps end at the same
    noise."""

    start: float = 1e-4
    end: float = 0.02

    def betas(self) -> Tensor:
        """The variances."""
        scale = 1000 / self.steps
        return torch.linspace(
            self.start * scale, min(self.end * scale, 0.999), self.steps, dtype=torch.float64
        )


@dataclass(frozen=True)
class Cosine(Schedule):
    """`alpha_bar(t)` proportional to `cos((t + s) / (1 + s) pi / 2)**2` (Nichol & Dhariwal 2021,
    eq. 17)."""

    s: float = 0.008

    def betas(self) -> Tensor:
        """The variances, clipped at 0.999 as in the paper."""
        bar = [
            cos((k / self.steps + self.s) / (1 + self.s) * pi / 2) ** 2
            for k in range(self.steps + 1)
        ]
        bar = torch.tensor(bar, dtype=torch.float64)
        return (1 - bar[1:] / bar[:-1]).clamp(max=0.999)


def expand(a: Tensor, like: Tensor) -> Tensor:
    """`(B,)` to `(B, 1, ...)` in the type of `like`."""
    return a.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def to_x0(out: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor, predict: str) -> Tensor:
    """The estimate of `x_0` in a network output; `alpha`, `sigma (B,)`."""
    a, s = expand(alpha, x_t), expand(sigma, x_t)
    if predict == "x0":
        return out
    if predict == "v":  # v = alpha eps - sigma x_0 (Salimans & Ho 2022)
        return a * x_t - s * out
    return (x_t - s * out) / a.clamp(min=1e-4)


def target(x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor, predict: str) -> Tensor:
    """What the network should say."""
    a, s = expand(alpha, x_0), expand(sigma, x_0)
    return {"x0": x_0, "v": a * eps - s * x_0, "eps": eps}[predict]


def loss(
    net: Net, x_0: Tensor, y: Tensor | None, schedule: Schedule, predict: str = "eps"
) -> Tensor:
    """Mean squared error of the prediction at a uniform time (DDPM's L_simple, eq. 14).

    Times are stratified over the batch, which leaves the mean and lowers the variance (VDM,
    appendix I).
    """
    offset = torch.rand(1, device=x_0.device)
    u = (offset + torch.arange(len(x_0), device=x_0.device) / len(x_0)) % 1
    t = (u * schedule.steps).floor().add(1) / schedule.steps
    alpha, sigma = schedule(t)
    eps = torch.randn_like(x_0)
    x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
    wanted = target(x_0, eps, alpha, sigma, predict)
    return (net(x_t, t, y) - wanted).square().mean()


def bound(
    denoise: Denoise,
    x_0: Tensor,
    schedule: Schedule,
    quantum: Tensor,
    terms: int | None = None,
    cut: float = 0.35,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The variational bound on `-log p(x_0)` in nats of the discretised data, `(B,)` (DDPM eq.
    5).

    `L_T + sum_k L_k + L_0` with posterior variances: `L_k = (SNR(s) - SNR(t)) / 2 |x_0 -
    x0_hat|**2` (VDM eq. 13) and `L_0` a discretised Gaussian (DDPM eq. 13). The chain begins at
    the first step whose noise reaches `cut` of a level: below, noise hides nothing of discrete
    data, and every factor e of SNR would cost a network that does not round about half a nat a
    dimension. `terms` of the middle terms are drawn, one from each of as many equal strata,
    which keeps the estimate unbiased; None takes all.
    """
    device, steps = x_0.device, schedule.steps
    first = first_step(schedule, float(quantum.min()) * cut)
    total = _prior_nats(x_0, schedule)
    total = total + _first_nats(denoise, x_0, schedule, first / steps, quantum, generator)
    middle = steps - first
    edges = torch.linspace(0, middle, min(terms or middle, middle) + 1).round().long()
    for low, high in pairwise(edges.tolist()):
        u = torch.rand(len(x_0), generator=generator, device=device)
        k = first + 1 + low + (u * (high - low)).floor().clamp(max=high - low - 1)
        t, s = k / steps, (k - 1) / steps
        alpha, sigma = schedule(t)
        alpha_s, sigma_s = schedule(s)
        weight = 0.5 * ((alpha_s / sigma_s) ** 2 - (alpha / sigma) ** 2)
        x_t = _noisy(x_0, alpha, sigma, generator)
        error = (x_0 - denoise(x_t, t)).double().square().flatten(1).sum(1)
        total = total + (high - low) * weight * error
    return total


def first_step(schedule: Schedule, least: float) -> int:
    """The first step, counted from 1, where `sigma / alpha` is at least `least`."""
    t = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    alpha, sigma = schedule(t)
    return min(int((sigma / alpha < least).sum()) + 1, schedule.steps)


def _noisy(x_0: Tensor, alpha: Tensor, sigma: Tensor, generator: torch.Generator | None) -> Tensor:
    eps = torch.randn(x_0.shape, generator=generator, device=x_0.device, dtype=x_0.dtype)
    return expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps


def _prior_nats(x_0: Tensor, schedule: Schedule) -> Tensor:
    """`L_T`: KL of `q(x_T | x_0)` from a standard normal."""
    alpha, sigma = schedule(torch.ones(len(x_0), device=x_0.device))
    a, s = expand(alpha, x_0.double()), expand(sigma, x_0.double())
    kl = 0.5 * (s**2 + (a * x_0) ** 2 - 1 - 2 * s.log())
    return kl.flatten(1).sum(1)


def _first_nats(
    denoise: Denoise,
    x_0: Tensor,
    schedule: Schedule,
    t: float,
    quantum: Tensor,
    generator: torch.Generator | None,
) -> Tensor:
    """`L_0`: a discretised Gaussian around the last estimate.

    Its standard deviation is that of the mean of two equally good guesses, the noisy value and the
    network's: `sigma / alpha / sqrt 2`. Any value gives a bound.
    """
    time = x_0.new_full((len(x_0),), t)
    alpha, sigma = schedule(time)
    mean = denoise(_noisy(x_0, alpha, sigma, generator), time)
    scale = expand(sigma / alpha, x_0) * 0.5**0.5
    return -discretized_gaussian(x_0, mean, scale, quantum).double().flatten(1).sum(1)
