"""Walks through a latent space, taken by a VAE or a GAN in the place of drawn latents.

Sample `i` is one step of a walk and depends on `i` alone.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aigc.core.errors import BadInput, unknown


@dataclass(frozen=True)
class Walk:
    """What replaces a sampler of latents; no noise is added to what is decoded."""

    noise = False

    def z(self, *given: Any) -> Tensor:
        """Latents `(B, L)`; the last of what a family gives its samplers is the Rng."""
        return self.at(given[-1].index)


@dataclass(frozen=True)
class Interpolate(Walk):
    """Rows of `count` samples from one known latent to the next; `known (N, L)`."""

    known: Tensor
    count: int = 8
    path: Literal["slerp", "linear"] = "slerp"

    def __post_init__(self):
        check_rows(self.count, len(self.known), self.path)

    def at(self, index: Tensor) -> Tensor:
        """The latents of samples number `index (B,)`."""
        row, part = split_rows(index, self.count)
        known = self.known.to(index.device)
        return PATHS[self.path](*(known[(row + k) % len(known)] for k in (0, 1)), part)


@dataclass(frozen=True)
class Traverse(Walk):
    """Rows of `count` samples along one direction each, by `span` to either side of the latent
    `known (1, L)`; `directions (D, L)`.

    With `reset` the known latent's own place along the direction is left for the origin first, so
    that a row runs from `-span` to `span`.
    """

    known: Tensor
    directions: Tensor
    count: int = 7
    span: float = 3.0
    reset: bool = True

    def __post_init__(self):
        if self.count < 2:
            raise BadInput(f"edit.count={self.count}: at least 2")

    def at(self, index: Tensor) -> Tensor:
        """The latents of samples number `index (B,)`."""
        row, part = split_rows(index, self.count)
        known, along = self.known.to(index.device), self.directions.to(index.device)
        along = along[row % len(along)]
        base = known - (known * along).sum(1, keepdim=True) * along if self.reset else known
        return base + (self.span * (2 * part - 1))[:, None].to(along) * along


def split_rows(index: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The row of each sample number `(B,)`, and how far along it stands, in [0, 1]."""
    return index // count, (index % count).double() / (count - 1)


def check_rows(count: int, known: int, path: str) -> None:
    """Raise BadInput for an interpolation that cannot be."""
    if count < 2 or known < 2:
        raise BadInput(f"count={count}, examples={known}: at least 2 of each")
    if path not in PATHS:
        raise unknown("edit.path", path, PATHS)


def linear(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
    """From `a` at 0 to `b` at 1 along a line; `part (B,)`."""
    part = part.view(-1, *[1] * (a.ndim - 1))
    return ((1 - part) * a + part * b).to(a.dtype)


def slerp(a: Tensor, b: Tensor, part: Tensor) -> Tensor:
    """From `a` at 0 to `b` at 1 along a great circle; `part (B,)` (Shoemake 1985)."""
    flat = torch.stack([a.flatten(1), b.flatten(1)]).double()
    unit = flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    angle = (unit[0] * unit[1]).sum(-1).clamp(-1, 1).arccos().clamp(min=1e-6)
    weights = torch.stack([((1 - part) * angle).sin(), (part * angle).sin()]) / angle.sin()
    return (weights[..., None] * flat).sum(0).to(a.dtype).view_as(a)


PATHS = {"slerp": slerp, "linear": linear}
