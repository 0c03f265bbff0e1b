"""Samples that begin from given data: inpainting, SDEdit, interpolation.

Each wraps any sampler and has its signature, so guidance, grids and every modality with floats
come for free. `known (N, *shape)` is given as floats; sample `i` takes example `i % N`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Denoise, Denoiser, full
from aigc.families.diffusion.sampling import Sampler, points
from aigc.families.diffusion.schedules import Schedule
from aigc.families.latents import PATHS, check_rows, split_rows


@dataclass(frozen=True)
class Edit:
    """What wraps a sampler."""

    inner: Sampler
    known: Tensor

    def examples(self, number: Tensor, x: Tensor) -> Tensor:
        """The known example of each number `(B,)`."""
        return self.known.to(x)[number % len(self.known)]


@dataclass(frozen=True)
class Inpaint(Edit):
    """Keeps the values where `mask (N, *shape)` is true and draws the others.

    The estimate of a known value is that value, so its noisy states follow from its own initial
    noise under every sampler: the replacement method (Song et al. 2021, appendix I.2).
    """

    mask: Tensor

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        known = self.examples(rng.index, x)
        mask = self.mask.to(x.device)[rng.index % len(self.mask)]

        def informed(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            x0, fraction = full(denoise, x_t, t)
            return torch.where(mask, known, x0), fraction

        yield from self.inner(Denoiser(informed), x, schedule, rng)


@dataclass(frozen=True)
class SDEdit(Edit):
    """Noises the known example up to time `strength` and denoises it (Meng et al. 2022)."""

    strength: float = 0.5

    def __post_init__(self):
        if not 0 < self.strength <= 1:
            raise BadInput(f"strength={self.strength}: above 0, at most 1")

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `strength` to 0."""
        inner = replace(self.inner, start=self.strength)
        (begin,) = points(schedule, inner.times(schedule)[:1])
        known = self.examples(rng.index, x)
        x = begin.alpha * known + begin.sigma / schedule.prior * x
        yield from inner(denoise, x, schedule, rng)


@dataclass(frozen=True)
class Interpolate(Edit):
    """Rows of `count` samples from one known example to the next, between their latents on the
    sphere (Song et al. 2021, "DDIM", section 5.3).

    A latent is the end of the probability-flow ODE run from data to noise by Euler's method on
    the sampler's own grid.
    """

    count: int = 8
    path: Literal["slerp", "linear"] = "slerp"

    def __post_init__(self):
        check_rows(self.count, len(self.known), self.path)

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from the interpolated latent to data."""
        row, part = split_rows(rng.index, self.count)
        ends = [self._latent(denoise, self.examples(row + k, x), schedule) for k in (0, 1)]
        yield from self.inner(denoise, PATHS[self.path](*ends, part), schedule, rng)

    def _latent(self, denoise: Denoise, x: Tensor, schedule: Schedule) -> Tensor:
        path = points(schedule, self.inner.times(schedule)[:-1].flip(0))
        z = x  # the last step of the grid, down to no noise at all, is not resolved
        for now, then in pairwise(path):
            slope = (z - now.estimate(denoise, z * now.scale)) / now.noise
            z = z + (then.noise - now.noise) * slope
        return z * path[-1].scale
