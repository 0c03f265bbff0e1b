"""A batch that is split over processes draws the random numbers that it would draw whole.

Every rank starts a batch from the same seed. Under `Share`, a draw with a row for each of the
rank's examples is made for all examples of the batch, and the rank keeps its rows: example `i` gets
the noise that one process would give it. A single number is the same on all ranks, and any other
draw is made once for each rank, so that no two share it.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

SIZED = (torch.rand, torch.randn, torch.randint)
LIKE = (torch.rand_like, torch.randn_like, torch.randint_like)
IN_PLACE = tuple(
    getattr(Tensor, name) for name in ("normal_", "uniform_", "exponential_", "bernoulli_")
)


class Share(TorchFunctionMode):
    """The rows `rank, rank + world, ...` of a batch of `total` examples, `rows` of them here.

    Draws from an explicit generator are left alone.
    """

    current: ClassVar["Share | None"] = None

    def __init__(self, rank: int, world: int, rows: int, total: int):
        super().__init__()
        self.rank, self.world, self.rows, self.total = rank, world, rows, total

    def __enter__(self) -> "Share":
        Share.current = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        Share.current = None
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in SIZED:
            return self._sized(func, list(args), dict(kwargs))
        if func in LIKE or func in IN_PLACE:
            like, *rest = args
            drawn = self._of(like.shape, lambda s: func(like.new_empty(s), *rest, **kwargs))
            return like.copy_(drawn) if func in IN_PLACE else drawn
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        return func(*args, **kwargs)

    def _sized(self, func: Callable, args: list, kwargs: dict) -> Tensor:
        """`rand(2, 3)`, `rand((2, 3))`, `randint(9, (2, 3))` and their `size=`."""
        if "size" in kwargs:
            shape = kwargs.pop("size")
        elif args and isinstance(args[-1], Sequence):
            shape = args.pop()
        else:
            shape, args = args, []
        return self._of(tuple(shape), lambda s: func(*args, size=s, **kwargs))

    def _of(self, shape: Sequence[int], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """The rank's part of what `draw` gives for the whole batch."""
        shape = tuple(shape)
        if torch.Size(shape).numel() == 1:
            return draw(shape)
        if self.rows not in shape:
            return draw((self.world, *shape))[self.rank]
        dim = shape.index(self.rows)
        whole = draw((*shape[:dim], self.total, *shape[dim + 1 :]))
        rows = torch.arange(self.rank, self.total, self.world, device=whole.device)
        return whole.index_select(dim, rows)

    def _dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or not p:
            return x
        return x * self._of(x.shape, lambda s: F.dropout(x.new_ones(s), p, True))


def strata(n: int, device: torch.device | None = None) -> Tensor:
    """`n` numbers in [0, 1), uniform each and evenly spread together, also over the ranks of a
    batch (VDM, appendix I)."""
    share = Share.current
    rows, total = torch.arange(n, device=device), n
    if share:
        rows, total = share.rank + share.world * rows, share.total
    return (torch.rand(1, device=device) + rows / total) % 1
