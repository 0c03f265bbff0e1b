"""What a network says of `x_t`, and the estimate of `x_0` in it: `x_0 = c_skip x_t + c_out out`.

A prediction gives its coefficients at a time and the target of its loss; the squared error of
`x_0` is `c_out**2` times that of the output, which is how weightings compare (Hang et al. 2023).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.families.diffusion.schedules import Schedule, expand


class Prediction(Protocol):
    """One may also have `scaled(x_t, schedule, t)`: the network's input."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """`c_skip, c_out`, float64 `(B,)`."""

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """What the network should say."""


@dataclass(frozen=True)
class X0:
    """The data itself."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 1."""
        one = torch.ones_like(t.double())
        return 0 * one, one

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """The data."""
        return x_0


@dataclass(frozen=True)
class Eps:
    """The noise (Ho et al. 2020)."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """`1 / alpha, -sigma / alpha`."""
        alpha, sigma = schedule(t)
        alpha = alpha.clamp(min=1e-5)
        return 1 / alpha, -sigma / alpha

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """The noise."""
        return eps


@dataclass(frozen=True)
class V:
    """`v = alpha eps - sigma x_0` (Salimans & Ho 2022)."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """`alpha, -sigma` where their squares sum to one."""
        alpha, sigma = schedule(t)
        total = alpha**2 + sigma**2
        return alpha / total, -sigma / total

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """The velocity on the circle of `x_0` and `eps`."""
        alpha, sigma = schedule(t)
        return expand(alpha, x_0) * eps - expand(sigma, x_0) * x_0


@dataclass(frozen=True)
class Flow:
    """The velocity `dx_t/dt = alpha' x_0 + sigma' eps` of a path (Lipman et al. 2023, theorem
    3)."""

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """From the two linear equations for `x_t` and its velocity."""
        (alpha, sigma), (d_alpha, d_sigma) = schedule(t), self._rate(schedule, t)
        total = d_sigma * alpha - sigma * d_alpha
        return d_sigma / total, -sigma / total

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """The velocity."""
        d_alpha, d_sigma = self._rate(schedule, t)
        return expand(d_alpha, x_0) * x_0 + expand(d_sigma, x_0) * eps

    def _rate(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        if not hasattr(schedule, "rate"):
            raise BadInput(
                f"model.predict=flow: {type(schedule).__name__.lower()} has no velocity: "
                "use model/schedule=straight or model/schedule=vp"
            )
        return schedule.rate(t)


@dataclass(frozen=True)
class EDM:
    """Input, output and target of unit variance for data of standard deviation `data` (Karras et
    al. 2022, table 1)."""

    data: float = 0.5

    def coefficients(self, schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
        """`c_skip, c_out` of `x_t`; in the paper `alpha` is one."""
        alpha, sigma = schedule(t)
        total = sigma**2 + (alpha * self.data) ** 2
        return alpha * self.data**2 / total, sigma * self.data / total.sqrt()

    def target(self, x_0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """`(x_0 - c_skip x_t) / c_out`, written without the difference."""
        alpha, sigma = schedule(t)
        root = (sigma**2 + (alpha * self.data) ** 2).sqrt()
        return (
            expand(sigma / self.data / root, x_0) * x_0
            - expand(alpha * self.data / root, x_0) * eps
        )

    def scaled(self, x_t: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
        """`c_in x_t`."""
        alpha, sigma = schedule(t)
        return x_t / expand((sigma**2 + (alpha * self.data) ** 2).sqrt(), x_t)


PREDICTIONS = {"eps": Eps, "x0": X0, "v": V, "flow": Flow, "edm": EDM}
