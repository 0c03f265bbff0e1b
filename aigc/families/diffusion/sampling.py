"""Samplers: from noise to data by `denoise(x_t, t) -> x_0`, whatever the network predicts.

All have one signature, `sampler(denoise, x_T, schedule, rng) -> Iterator[x_t]`; most share one
loop and one choice of grid, and differ in their step. More of them: `multistep.py`, `adaptive.py`,
`hub.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Denoise, full
from aigc.families.diffusion.schedules import Schedule

GRIDS = ("time", "karras", "exponential", "uniform")
CEILING = 160.0  # just above the end of DDPM's chain; the cosine one goes to 20,000


class Point(NamedTuple):
    """A time with its schedule, float64 scalars on the CPU."""

    t: Tensor
    alpha: Tensor
    sigma: Tensor
    scale: Tensor

    @property
    def noise(self) -> Tensor:
        """The variable of the ODE."""
        return self.sigma / self.scale

    @property
    def log_snr(self) -> Tensor:
        """`log(alpha / sigma)`, half of the log SNR; infinite at the data."""
        return self.alpha.log() - self.sigma.log()

    def estimate(self, denoise: Denoise, x: Tensor) -> Tensor:
        """The estimate of `x_0` from `x` at this time."""
        return denoise(x, self.rows(x))

    def rows(self, x: Tensor) -> Tensor:
        """The time, once for each row of `x`."""
        return x.new_full((len(x),), float(self.t), dtype=torch.float64)


def points(schedule: Schedule, times: Tensor) -> list[Point]:
    """The points at `times (n,)`."""
    alpha, sigma = schedule(times)
    return [Point(*row) for row in zip(times, alpha, sigma, schedule.scale(alpha, sigma))]


class Walk(NamedTuple):
    """What a step may use besides its two points; `past` is its own, for multistep methods."""

    schedule: Schedule
    rng: Rng
    past: list


@dataclass(frozen=True)
class Sampler:
    """What all samplers share; `steps` is the number of intervals from `t = start` to 0.

    `grid` places them: even in `time`, or in noise as `karras` (EDM, eq. 5, rho = 7),
    `exponential` (even in its logarithm) or `uniform`. `guidance`, `interval`, `rescale` and
    `guide` are those of `guidance.Guidance`.
    """

    steps: int = 50
    grid: Literal["time", "karras", "exponential", "uniform"] = "time"
    start: float = 1.0
    guidance: float | None = None
    interval: list[float] | None = None
    rescale: float | None = None
    guide: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self):
        if self.steps < 1:
            raise BadInput(f"sampler.steps={self.steps}: at least 1")
        if self.grid not in GRIDS:
            raise unknown("sampler.grid", self.grid, GRIDS)
        if not 0 < self.start <= 1:
            raise BadInput(f"sampler.start={self.start}: above 0, at most 1")

    def times(self, schedule: Schedule) -> Tensor:
        """Falling times from `start` to 0, float64."""
        if self.grid == "time":
            return schedule.even(self.steps, self.start)
        high, low = noise_range(schedule, self.start)
        if self.grid == "exponential":
            noise = torch.linspace(log(high), log(low), self.steps, dtype=torch.float64).exp()
        else:
            rho = 7 if self.grid == "karras" else 1
            ends = high ** (1 / rho), low ** (1 / rho)
            noise = torch.linspace(*ends, self.steps, dtype=torch.float64) ** rho
        return torch.cat([schedule.time(noise), torch.zeros(1, dtype=torch.float64)])


def noise_range(schedule: Schedule, start: float = 1.0) -> tuple[float, float]:
    """The highest and lowest noise that a grid over noise visits before 0."""
    high, low = points(schedule, torch.tensor([start, 1 / schedule.steps], dtype=torch.float64))
    return min(float(high.noise), CEILING), float(low.noise)


class Stepper(Sampler, ABC):
    """The loop over a grid; a method is its step."""

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        walk = Walk(schedule, rng, [])
        for now, then in pairwise(points(schedule, self.times(schedule))):
            x = self.step(denoise, x, now, then, walk)
            yield x

    @abstractmethod
    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """The state at `then`, given `x` at `now`."""


@dataclass(frozen=True)
class DDIM(Stepper):
    """Song et al. 2021, eq. 12; `eta = 0` is deterministic, `eta = 1` is ancestral sampling."""

    eta: float = 0.0

    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """Along the line through the estimate, with part of its noise drawn anew."""
        x0, fraction = full(denoise, x, now.rows(x))
        eps = (x - now.alpha * x0) / now.sigma
        # eq. 16, for any alpha and sigma: the standard deviation of the noise that is put back
        forward = now.sigma**2 - (now.alpha / then.alpha * then.sigma) ** 2
        noise = self.eta * then.sigma / now.sigma * forward.clamp(min=0).sqrt()
        x = then.alpha * x0 + (then.sigma**2 - noise**2).clamp(min=0).sqrt() * eps
        if self.eta and then.sigma > 0:
            learned = (now.sigma / then.sigma) ** fraction  # one unless the variance is learned
            x = x + noise * learned * walk.rng.normal(*x.shape[1:])
        return x


@dataclass(frozen=True)
class Ancestral(DDIM):
    """DDPM's own sampler (Ho et al. 2020, algorithm 2) with posterior or learned variances."""

    steps: int = 1000
    eta: float = 1.0


@dataclass(frozen=True)
class Euler(Stepper):
    """First order on the probability-flow ODE; with `churn`, EDM's stochastic sampler (Karras et
    al. 2022, algorithm 2): noise is added before each step between `churn_min` and `churn_max`.
    """

    churn: float | None = None
    churn_min: float | None = None
    churn_max: float | None = None
    churn_noise: float | None = None

    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """Along the slope at `now`."""
        x, now = self._churned(x, now, walk)
        z = x / now.scale
        slope = (z - now.estimate(denoise, x)) / now.noise
        return then.scale * (z + (then.noise - now.noise) * slope)

    def _churned(self, x: Tensor, now: Point, walk: Walk) -> tuple[Tensor, Point]:
        """The state with more noise, and the time that belongs to it."""
        highest = noise_range(walk.schedule)[0]
        inside = (self.churn_min or 0) <= now.noise <= (self.churn_max or highest)
        if not self.churn or not inside or now.noise >= highest:
            return x, now
        raised = now.noise * (1 + min(self.churn / self.steps, 2**0.5 - 1))
        (hat,) = points(walk.schedule, walk.schedule.time(raised.clamp(max=highest)[None]))
        keep = hat.alpha / now.alpha
        noise = (self.churn_noise or 1) * (hat.sigma**2 - (keep * now.sigma) ** 2).sqrt()
        return keep * x + noise * walk.rng.normal(*x.shape[1:]), hat


@dataclass(frozen=True)
class Heun(Euler):
    """Second order (Karras et al. 2022, algorithms 1 and 2): each step but the last evaluates the
    network twice."""

    steps: int = 25

    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """Along the mean of the slopes at both ends."""
        x, now = self._churned(x, now, walk)
        z = x / now.scale
        slope = (z - now.estimate(denoise, x)) / now.noise
        ahead = z + (then.noise - now.noise) * slope
        if then.noise > 0:
            later = then.estimate(denoise, then.scale * ahead)
            slope = (slope + (ahead - later) / then.noise) / 2
            ahead = z + (then.noise - now.noise) * slope
        return then.scale * ahead
