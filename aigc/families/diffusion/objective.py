"""Denoising diffusion: the loss, its weightings and the variational bound.

Notation of Ho et al. 2020 ("DDPM") and Kingma et al. 2021 ("VDM"): `x_t = alpha x_0 + sigma
eps`, time `t` in [0, 1], `SNR = alpha**2 / sigma**2`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import log

import torch
from torch import Tensor

from aigc.core.share import strata
from aigc.families.diffusion.predictions import Prediction
from aigc.families.diffusion.schedules import Schedule, expand
from aigc.families.likelihoods import discretized_gaussian

Net = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Denoise = Callable[[Tensor, Tensor], Tensor]  # (x_t, t) -> estimate of x_0

# Weight of a squared error of the output, given the SNR and `c_out**2`.
WEIGHTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "simple": lambda snr, c2: torch.ones_like(snr),
    "min_snr": lambda snr, c2: snr.clamp(max=5) * c2,  # Hang et al. 2023, gamma = 5
    "p2": lambda snr, c2: snr / (1 + snr) * c2,  # Choi et al. 2022, gamma = k = 1, of eps
}


@dataclass(frozen=True)
class Objective:
    """A path, what the network says along it, and how errors are weighted.

    With a `learned` variance the network's output has twice the channels, and the loss is
    L_hybrid.
    """

    schedule: Schedule
    predict: Prediction
    weight: str = "simple"
    learned: bool = False

    def loss(self, net: Net, x_0: Tensor, y: Tensor | None) -> Tensor:
        """Weighted mean squared error of the prediction (DDPM's L_simple, eq. 14, where weights
        are one).

        Times are stratified over the batch, which leaves the mean and lowers the variance (VDM,
        appendix I).
        """
        t = self.schedule.times(strata(len(x_0), x_0.device))
        alpha, sigma = self.schedule(t)
        eps = torch.randn_like(x_0)
        x_t = expand(alpha, x_0) * x_0 + expand(sigma, x_0) * eps
        out, fraction = self._output(net, x_t, t, y)
        wanted = self.predict.target(x_0, eps, self.schedule, t)
        error = (out - wanted).square()
        if self.weight != "simple":
            c_out = self.predict.coefficients(self.schedule, t)[1]
            weight = WEIGHTS[self.weight]((alpha / sigma) ** 2, c_out**2)
            error = expand(weight, x_0) * error
        value = error.mean()
        if self.learned:
            x0 = self._x0(out.detach(), x_t, t)
            value = value + self._variational(x_0, x0, fraction, t)
        return value

    def denoise(self, net: Net, x_t: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The estimate of `x_0`, and where the log variance stands between the posterior's (0) and
        the forward step's (1); 0 where it is not learned."""
        out, fraction = self._output(net, x_t, t, y)
        return self._x0(out, x_t, t), fraction

    def _output(self, net: Net, x_t: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        scaled = getattr(self.predict, "scaled", None)
        out = net(scaled(x_t, self.schedule, t) if scaled else x_t, t.to(x_t.dtype), y)
        if not self.learned:
            return out, x_t.new_zeros(())
        out, fraction = out.chunk(2, dim=1)
        return out, (fraction + 1) / 2  # Nichol & Dhariwal 2021, eq. 15

    def _x0(self, out: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        c_skip, c_out = self.predict.coefficients(self.schedule, t)
        return expand(c_skip, x_t) * x_t + expand(c_out, x_t) * out

    def _variational(self, x_0: Tensor, x0: Tensor, fraction: Tensor, t: Tensor) -> Tensor:
        """0.001 of the chain's bound in bits per dimension (Nichol & Dhariwal 2021, eq. 16)."""
        s = (t.double() - 1 / self.schedule.steps).clamp(min=0)
        kl = gaussian_kl(x_0, x0, fraction, self.schedule, t, s)
        inner = expand((s > 0.5 / self.schedule.steps).double(), x_0)  # L_0 has no such KL
        return 0.001 * self.schedule.steps / log(2) * (inner * kl).mean()


def gaussian_kl(
    x_0: Tensor, x0: Tensor, fraction: Tensor, schedule: Schedule, t: Tensor, s: Tensor
) -> Tensor:
    """KL of `q(x_s | x_t, x_0)` from the model's Gaussian at `x0`, elementwise nats, float64.

    The model's variance is the posterior's times `(sigma_t / sigma_s)**(2 fraction)`: the
    posterior's own at 0, the forward step's at 1. At 0 it is `(SNR(s) - SNR(t)) / 2 (x_0 -
    x0)**2` (VDM, eq. 13).
    """
    (alpha, sigma), (alpha_s, sigma_s) = schedule(t), schedule(s)
    sigma_s = sigma_s.clamp(min=1e-9)
    gain = (alpha_s / sigma_s) ** 2 - (alpha / sigma) ** 2
    log_ratio = 2 * fraction.double() * expand((sigma / sigma_s).log(), x_0.double())
    error = expand(gain, x_0.double()) * (x_0 - x0).double().square()
    return 0.5 * (log_ratio + torch.exp(-log_ratio) * (1 + error) - 1)


class Denoiser:
    """`(x_t, t) -> x_0`; `full` gives the learned fraction of the variance besides."""

    def __init__(self, full: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]):
        self.full = full

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.full(x_t, t)[0]


def full(denoise: Denoise, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate and fraction of any denoiser; a plain function has posterior variances."""
    if isinstance(denoise, Denoiser):
        return denoise.full(x_t, t)
    return denoise(x_t, t), x_t.new_zeros(())


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

    `L_T + sum_k L_k + L_0`, where `L_k` is `gaussian_kl` and `L_0` a discretised Gaussian (DDPM
    eq. 13). The chain begins at
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
        x0, fraction = full(denoise, _noisy(x_0, *schedule(t), generator), t)
        kl = gaussian_kl(x_0, x0, fraction, schedule, t, s)
        total = total + (high - low) * kl.flatten(1).sum(1)
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
    """`L_T`: KL of `q(x_T | x_0)` from the law that sampling starts from."""
    alpha, sigma = (a / schedule.prior for a in schedule(torch.ones_like(x_0.flatten(1)[:, 0])))
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
