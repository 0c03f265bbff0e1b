"""Noise schedules: how much of the data and how much noise there is at a time.

`x_t = alpha x_0 + sigma eps` at `t` in [0, 1], data at 0. Chains of betas follow Ho et al. 2020
("DDPM"); the continuous paths are those of flow matching and of Karras et al. 2022 ("EDM").
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import cos, log, pi
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """What a loss and a sampler need of a path from data to noise.

    `steps` is the length of the chain in the variational bound, `prior` the standard deviation
    of `x_T`. The probability-flow ODE is taken in `z = x / scale` over `noise = sigma / scale`,
    where `dz/dnoise = (z - x_0) / noise`.
    """

    steps: int
    prior: float

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`alpha, sigma` of times `t (B,)`, float64 `(B,)`."""

    def scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What `x` is divided by in the ODE."""

    def time(self, noise: Tensor) -> Tensor:
        """The time at which `sigma / scale` is `noise`, float64."""

    def times(self, u: Tensor) -> Tensor:
        """Training times of uniform numbers `u (B,)`."""

    def even(self, steps: int, start: float) -> Tensor:
        """`steps` even intervals of time from `start` to 0, float64."""


@dataclass(frozen=True)
class Chain(ABC):
    """A discrete chain of `steps` betas, as `(alpha, sigma)` at any `t` in [0, 1].

    At `t = k / steps` the values are those of step `k` exactly; between, `log alpha` is
    interpolated.
    """

    steps: int = 1000
    prior = 1.0

    @abstractmethod
    def betas(self) -> Tensor:
        """The variances `(steps,)`, float64."""

    @cached_property
    def log_alpha(self) -> Tensor:
        """`log alpha` at `t = 0, 1/steps, ..., 1`, float64."""
        return torch.cat([torch.zeros(1), 0.5 * torch.log1p(-self.betas()).cumsum(0)])

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = self.log_alpha.to(t.device)
        place = t.double() * self.steps
        # A time like 3/1000 is not exact in floats; a place this close to a node is that node.
        place = torch.where((place - place.round()).abs() < 1e-3, place.round(), place)
        low = place.floor().long().clamp(0, self.steps - 1)
        part = place - low
        log_alpha = table[low] * (1 - part) + table[low + 1] * part
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """`alpha`: the ODE runs over `sigma / alpha` (EDM, eq. 4)."""
        return alpha

    def time(self, noise: Tensor) -> Tensor:
        """The inverse of `sigma / alpha`."""
        fall = -self.log_alpha.to(noise.device)
        wanted = 0.5 * torch.log1p(noise.double() ** 2)
        low = torch.searchsorted(fall, wanted, right=True).sub(1).clamp(0, self.steps - 1)
        part = (wanted - fall[low]) / (fall[low + 1] - fall[low])
        return ((low + part) / self.steps).clamp(0, 1)

    def times(self, u: Tensor) -> Tensor:
        """A node of the chain."""
        return (u * self.steps).floor().add(1) / self.steps

    def even(self, steps: int, start: float) -> Tensor:
        """Times that are nodes, so at most as many as there are."""
        first = max(1, round(start * self.steps))
        nodes = torch.linspace(first, 0, min(steps, first) + 1, dtype=torch.float64).round()
        return nodes / self.steps


@dataclass(frozen=True)
class Linear(Chain):
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
class Sigmoid(Chain):
    """Betas from 1e-4 to 0.02 along a sigmoid (Xu et al. 2022, "GeoDiff")."""

    start: float = 1e-4
    end: float = 0.02

    def betas(self) -> Tensor:
        """The variances."""
        rise = torch.linspace(-6, 6, self.steps, dtype=torch.float64).sigmoid()
        return ((rise * (self.end - self.start) + self.start) * 1000 / self.steps).clamp(max=0.999)


@dataclass(frozen=True)
class Cosine(Chain):
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


@dataclass(frozen=True)
class Path:
    """A path without nodes; training times are uniform above `1 / steps`."""

    steps: int = 1000
    prior = 1.0

    def scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """`alpha`, as in a chain."""
        return alpha

    def times(self, u: Tensor) -> Tensor:
        """Uniform, away from the singular end."""
        return u.clamp(min=1 / self.steps)

    def even(self, steps: int, start: float) -> Tensor:
        """Even times."""
        return torch.linspace(start, 0, steps + 1, dtype=torch.float64)


@dataclass(frozen=True)
class Straight(Path):
    """`x_t = (1 - t) x_0 + t eps`: rectified flow (Liu et al. 2023), flow matching's optimal-
    transport path (Lipman et al. 2023, eq. 22)."""

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t.double(), t.double()

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of `alpha, sigma` in time."""
        return -torch.ones_like(t.double()), torch.ones_like(t.double())

    def scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """One: the ODE runs over `t` itself."""
        return alpha + sigma

    def time(self, noise: Tensor) -> Tensor:
        """The noise is the time."""
        return noise.double().clamp(0, 1)


@dataclass(frozen=True)
class VP(Path):
    """The variance-preserving SDE with linear beta (Song et al. 2021, eq. 33), as a path of flow
    matching (Lipman et al. 2023, eq. 19)."""

    low: float = 0.1
    high: float = 20.0

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.double()
        log_alpha = -t * (self.low + t * (self.high - self.low) / 2) / 2
        return log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()

    def rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of `alpha, sigma` in time: `alpha' = -beta alpha / 2`, and `alpha**2 +
        sigma**2` stays."""
        alpha, sigma = self(t)
        d_alpha = -alpha * (self.low + t.double() * (self.high - self.low)) / 2
        return d_alpha, -alpha * d_alpha / sigma

    def time(self, noise: Tensor) -> Tensor:
        """The root of a quadratic."""
        fall, slope = torch.log1p(noise.double() ** 2), (self.high - self.low) / 2
        root = (self.low**2 + 4 * slope * fall).sqrt() + self.low
        return (2 * fall / root).clamp(0, 1)


@dataclass(frozen=True)
class LogNormal(Path):
    """EDM: `x = x_0 + sigma eps` with `log sigma` linear in time and normal in training (Karras
    et al. 2022, table 1).

    `sigma` is `low` at `t = 1 / steps` and 0 at 0.
    """

    low: float = 0.002
    high: float = 80.0
    mean: float = -1.2
    sd: float = 1.2

    @property
    def prior(self) -> float:
        """The standard deviation of `x_T`."""
        return self.high

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        rise = (t.double() * self.steps - 1) / (self.steps - 1)
        sigma = (log(self.low) + rise * log(self.high / self.low)).exp()
        return torch.ones_like(sigma), torch.where(t > 0, sigma, 0.0)

    def time(self, noise: Tensor) -> Tensor:
        """The inverse."""
        return self._time(noise.double().clamp(min=self.low).log()) * (noise > 0)

    def times(self, u: Tensor) -> Tensor:
        """`log sigma` normal."""
        return self._time(self.mean + self.sd * torch.special.ndtri(u.double())).float()

    def _time(self, log_sigma: Tensor) -> Tensor:
        rise = ((log_sigma - log(self.low)) / log(self.high / self.low)).clamp(0, 1)
        return (rise * (self.steps - 1) + 1) / self.steps


def expand(a: Tensor, like: Tensor) -> Tensor:
    """`(B,)` to `(B, 1, ...)` in the type of `like`."""
    return a.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
