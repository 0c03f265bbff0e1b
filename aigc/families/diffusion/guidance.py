"""Guidance: an estimate pushed away from a weaker one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.families.diffusion.objective import Denoiser


@dataclass(frozen=True)
class Guidance:
    """`x_0 = weak + scale (strong - weak)`: without labels as the weak one, classifier-free
    guidance (Ho & Salimans 2022); with a worse model, autoguidance (Karras et al. 2024).

    It acts at times within `interval` (Kynkaanniemi et al. 2024), where alone the weak one is
    evaluated; `rescale` is the share of the strong one's standard deviation that the result gets
    back (Lin et al. 2024, eq. 15-16, here of `x_0`).
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0

    def __post_init__(self):
        low, high = self.interval
        if not 0 <= low <= high <= 1:
            raise BadInput(f"sampler.interval=[{low},{high}]: two times in [0, 1], rising")
        if not 0 <= self.rescale <= 1:
            raise BadInput(f"sampler.rescale={self.rescale}: between 0 and 1")

    def __call__(self, strong: Denoiser, weak: Denoiser) -> Denoiser:
        """The guided denoiser."""

        def guided(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            x0, fraction = strong.full(x_t, t)
            # Rows may be at times of their own (an adaptive solver), so the rows decide.
            inside = (t >= self.interval[0] - 1e-9) & (t <= self.interval[1] + 1e-9)
            if not inside.any():
                return x0, fraction
            base = weak(x_t, t)
            out = self._rescaled(base + self.scale * (x0 - base), x0)
            return torch.where(inside.view(-1, *[1] * (x0.ndim - 1)), out, x0), fraction

        return Denoiser(guided)

    def _rescaled(self, out: Tensor, strong: Tensor) -> Tensor:
        """Without it, guidance brightens and saturates."""
        if not self.rescale:
            return out
        axes = tuple(range(1, out.ndim))
        ratio = _sd(strong, axes) / _sd(out, axes).clamp(min=1e-6)
        return out * (self.rescale * ratio + 1 - self.rescale)


def _sd(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.std(axes, correction=0, keepdim=True)
