"""Views: exact bijections between the ids of any modality and what a family can work on.

A view knows shapes and levels, never the modality. `decode(encode(ids)) == ids` for every id, and
`decode` maps any float to the nearest valid id, so that each sample is valid data.
"""

from math import ceil, log2
from typing import Protocol

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Space, Spec


class View(Protocol):
    """The interface of all views, learned ones included."""

    spec: Spec

    def encode(self, ids: Tensor) -> Tensor:
        """Ids `(B, *space.shape)` to what the network sees, `(B, *spec.shape)`."""

    def decode(self, x: Tensor) -> Tensor:
        """The inverse; rounds to the nearest valid id."""


class Tokens:
    """A sequence of tokens in reading order; channels run fastest, so a pixel's colours stay
    together.

    `allowed` is a `(T, V)` mask where columns differ in their number of levels, else None; `end`
    closes prompts and completions (-1: there are none).
    """

    def __init__(self, space: Space):
        self.space = space
        levels = _per_position(space.levels, space.dims)
        self.spec = Spec((space.dims,), vocab=max(levels), **space.given)
        self.allowed, self.end = None, space.end
        if min(levels) < max(levels):
            self.allowed = torch.arange(max(levels)) < torch.tensor(levels)[:, None]

    def encode(self, ids: Tensor) -> Tensor:
        """Ids `(B, *shape)` to tokens `(B, T)`."""
        return (ids.movedim(1, -1) if ids.ndim > 2 else ids).reshape(len(ids), -1).long()

    def decode(self, x: Tensor) -> Tensor:
        """Tokens `(B, T)` to ids `(B, *shape)`."""
        if len(self.space.shape) == 1:
            return x
        channels, *rest = self.space.shape
        return x.reshape(len(x), *rest, channels).movedim(-1, 1)


class Grid:
    """Ordered levels as numbers in [-1, 1]: pixels, loudness."""

    def __init__(self, space: Space):
        if not isinstance(space.levels, int) or space.levels < 2:
            raise BadInput(
                "view 'grid' needs one number of levels, at least 2, for all ids; use 'table'"
            )
        self.top = space.levels - 1
        self.spec = Spec(space.shape, quantum=2 / self.top, **space.given)

    def encode(self, ids: Tensor) -> Tensor:
        """Ids to floats of the same shape."""
        return ids.float() * (2 / self.top) - 1

    def decode(self, x: Tensor) -> Tensor:
        """Floats to the nearest ids."""
        return ((x.float() + 1) * (self.top / 2)).round().clamp(0, self.top).long()


class Bits:
    """Unordered levels as analog bits, -1 or 1, most significant first (Chen et al. 2022,
    arXiv:2208.04202).

    Ids `(*S)` become `(bits, *S)`; with a channel axis, `(C, *S)` becomes `(C * bits, *S)`.
    """

    def __init__(self, space: Space):
        if not isinstance(space.levels, int) or space.levels < 2:
            raise BadInput(
                "view 'bits' needs one number of levels, at least 2, for all ids; use 'table'"
            )
        self.space = space
        self.bits = _bits(space.levels)
        channels, *rest = space.shape if len(space.shape) > 1 else (1, *space.shape)
        self.spec = Spec((channels * self.bits, *rest), quantum=2.0, **space.given)

    def encode(self, ids: Tensor) -> Tensor:
        """Ids `(B, *shape)` to bits `(B, C * bits, *S)`."""
        x = ids if len(self.space.shape) > 1 else ids[:, None]
        return _to_bits(x, self.bits, dim=2).flatten(1, 2)

    def decode(self, x: Tensor) -> Tensor:
        """Signs to ids; a pattern above the last level becomes the last level."""
        x = x.unflatten(1, (-1, self.bits))
        ids = _from_bits(x, dim=2).clamp(max=self.space.levels - 1)
        return ids.reshape(len(x), *self.space.shape)


class Table:
    """A row of mixed columns: one number for an ordered column, analog bits for a category.

    A column with a single level carries nothing and takes no feature.
    """

    def __init__(self, space: Space):
        self.levels = _per_position(space.levels, space.dims)
        ordered = space.ordered
        self.ordered = ordered if isinstance(ordered, tuple) else (ordered,) * space.dims
        self.widths = [
            min(n - 1, 1) if is_ordered else _bits(n)
            for n, is_ordered in zip(self.levels, self.ordered)
        ]
        quantum, take = [], []  # of each feature: its column, what it is shifted by and its bits
        for at, (n, width, is_ordered) in enumerate(zip(self.levels, self.widths, self.ordered)):
            quantum += [2 / (n - 1) if is_ordered and n > 1 else 2.0] * width
            take += [(at, bit, -1 if is_ordered else 1) for bit in reversed(range(width))]
        if not quantum:
            raise BadInput("every column of the table is constant: there is nothing to model")
        self._take, self._scale = torch.tensor(take).T.contiguous(), torch.tensor(quantum)
        self.spec = Spec((len(quantum),), quantum=tuple(quantum), **space.given)

    def encode(self, ids: Tensor) -> Tensor:
        """Rows `(B, columns)` to features `(B, F)`."""
        column, shift, mask = self._take.to(ids.device)
        return ((ids[:, column] >> shift) & mask).float() * self._scale.to(ids.device) - 1

    def decode(self, x: Tensor) -> Tensor:
        """Features `(B, F)` to the nearest rows `(B, columns)`."""
        columns = []
        for part, n, o in zip(x.float().split(self.widths, dim=1), self.levels, self.ordered):
            if o and n > 1:
                column = ((part[:, 0] + 1) * ((n - 1) / 2)).round().clamp(min=0)
            else:
                column = _from_bits(part, dim=1)
            columns.append(column.long().clamp(max=n - 1))
        return torch.stack(columns, dim=1)


VIEWS = {"tokens": Tokens, "grid": Grid, "bits": Bits, "table": Table}


def _per_position(levels: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return levels if isinstance(levels, tuple) else (levels,) * dims


def _bits(levels: int) -> int:
    return ceil(log2(levels)) if levels > 1 else 0


def _to_bits(ids: Tensor, bits: int, dim: int) -> Tensor:
    shifts = torch.arange(bits - 1, -1, -1, device=ids.device)
    shape = [-1 if axis == dim else 1 for axis in range(ids.ndim + 1)]
    return ((ids.long().unsqueeze(dim) >> shifts.view(shape)) & 1).float() * 2 - 1


def _from_bits(x: Tensor, dim: int) -> Tensor:
    bits = x.shape[dim]
    shape = [-1 if axis == dim else 1 for axis in range(x.ndim)]
    weights = 2 ** torch.arange(bits - 1, -1, -1, device=x.device)
    return ((x > 0) * weights.view(shape)).sum(dim)
