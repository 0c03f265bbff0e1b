"""What travels between the rooms of the house: the ids of an example, and what a network sees of
them."""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Space:
    """The ids of one example before any view: integers `0 <= ids < levels` in an array of `shape`.

    `levels` and `ordered` are tuples for a table, one entry a column. Ordered levels (a pixel, a
    loudness) may be read as numbers; unordered ones (a letter, a category) may not. `classes`
    counts the labels and `caption` the bytes of the captions that examples come with (0 = none).
    In data of prompts and completions the id `end` closes both (-1: data have no prompts).
    """

    shape: tuple[int, ...]
    levels: int | tuple[int, ...]
    classes: int = 0
    ordered: bool | tuple[bool, ...] = True
    end: int = -1
    caption: int = 0

    @property
    def dims(self) -> int:
        """Number of ids in one example: the unit of bits per dimension."""
        return prod(self.shape)

    @property
    def given(self) -> dict[str, int]:
        """What an example comes with, which every view passes on to its Spec."""
        return {"classes": self.classes, "caption": self.caption}


@dataclass(frozen=True)
class Spec:
    """What a network sees, and all it may know of the data.

    `shape` is `(T,)` for tokens and `(F,)`, `(C, T)`, `(C, H, W)` or `(C, N, H, W)` for floats.
    `vocab` is 0 for floats. `quantum` is the width of one level in the floats' unit (a tuple for
    a table, one entry a feature; 0 = continuous). `classes` is 0 when there are no labels,
    `caption` (the length of `y`) when there are no captions.
    """

    shape: tuple[int, ...]
    vocab: int = 0
    quantum: float | tuple[float, ...] = 0.0
    classes: int = 0
    caption: int = 0

    @property
    def rank(self) -> int:
        """Number of spatial axes: 0 for a row of a table, 1 for sound and text, 2 for pictures."""
        return len(self.shape) - 1

    @property
    def dims(self) -> int:
        """Number of values in one example."""
        return prod(self.shape)


def completion(ids: Tensor, end: int) -> Tensor:
    """Which ids `(B, T)` are to be predicted: those after the first `end`, up to the second one.

    All are where data have no `end` (-1).
    """
    if end < 0:
        return ids >= 0
    closed = ids == end
    return closed.cumsum(1) - closed.long() == 1


class Batch(NamedTuple):
    """Examples as the data module gives them: `ids (B, *shape)` and labels `y (B,)` or captions
    `y (B, L)` (see `aigc.core.caption`) if there are any."""

    ids: Tensor
    y: Tensor | None = None
