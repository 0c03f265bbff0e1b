"""Samplers: from noise to data by `denoise(x_t, t) -> x_0`, whatever the network predicts.

All have one signature, `sampler(denoise, x_T, schedule, rng) -> Iterator[x_t]`, and walk the
same grid of times from 1 to 0. The number of network evaluations is `nfe`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Denoise, Schedule, expand


@dataclass(frozen=True)
class Sampler:
    """`steps` is the number of intervals between `t = 1` and `t = 0`."""

    steps: int = 50

    def __post_init__(self):
        if self.steps < 1:
            raise BadInput(f"sampler.steps={self.steps}: at least 1")

    def times(self, schedule: Schedule) -> list[float]:
        """Times from 1 to 0, each a node of the schedule."""
        count = min(self.steps, schedule.steps)
        nodes = torch.linspace(schedule.steps, 0, count + 1, dtype=torch.float64).round()
        return (nodes / schedule.steps).tolist()


@dataclass(frozen=True)
class DDIM(Sampler):
    """Song et al. 2021, eq. 12; `eta = 0` is deterministic, `eta = 1` is ancestral sampling."""

    eta: float = 0.0

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        times = self.times(schedule)
        for t, s in pairwise(times):
            (alpha, sigma), (alpha_s, sigma_s) = _at(schedule, t, x), _at(schedule, s, x)
            x0 = denoise(x, x.new_full((len(x),), t))
            eps = (x - alpha * x0) / sigma
            # eq. 16: the standard deviation of the noise that is put back
            noise = self.eta * sigma_s / sigma * (1 - (alpha / alpha_s) ** 2).clamp(min=0).sqrt()
            x = alpha_s * x0 + (sigma_s**2 - noise**2).clamp(min=0).sqrt() * eps
            if self.eta and s > 0:
                x = x + noise * rng.normal(*x.shape[1:])
            yield x


@dataclass(frozen=True)
class Ancestral(DDIM):
    """DDPM's own sampler with posterior variances (Ho et al. 2020, algorithm 2)."""

    steps: int = 1000
    eta: float = 1.0


@dataclass(frozen=True)
class Heun(Sampler):
    """Second order on the probability-flow ODE in `x / alpha` over `sigma / alpha` (Karras et
    al. 2022).

    Each step but the last evaluates the network twice.
    """

    steps: int = 25

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        times = self.times(schedule)
        for t, s in pairwise(times):
            (alpha, sigma), (alpha_s, sigma_s) = _at(schedule, t, x), _at(schedule, s, x)
            now, then = sigma / alpha, sigma_s / alpha_s
            slope = (x / alpha - denoise(x, x.new_full((len(x),), t))) / now
            scaled = x / alpha + (then - now) * slope
            if s > 0:
                ahead = denoise(alpha_s * scaled, x.new_full((len(x),), s))
                slope = (slope + (scaled - ahead) / then) / 2
                scaled = x / alpha + (then - now) * slope
            x = alpha_s * scaled
            yield x


def _at(schedule: Schedule, t: float, x: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = schedule(torch.full((1,), t, dtype=torch.float64, device=x.device))
    return expand(alpha, x), expand(sigma, x)
