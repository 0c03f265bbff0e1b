"""Ranks that draw their shares draw together what one process draws."""

import pytest
import torch
from torch.nn import functional as F

from aigc.core.share import Share, strata

X = torch.arange(39.0).view(13, 3)


def gan_like(x: torch.Tensor) -> list[torch.Tensor]:
    """Draws of every kind, a value for each row of `x`."""
    n = len(x)
    scale = torch.rand(())
    shift, slope = torch.rand(2, n)
    return [
        torch.randn(n, 4),
        torch.randn_like(x) * scale,
        torch.rand(n, 1, 1),
        torch.rand_like(x.double()),
        torch.randint(0, 9, (n,)),
        torch.randint(5, size=(n, 2)),
        torch.empty_like(x).normal_(),
        F.dropout(x, 0.5, True),
        torch.nn.Dropout(0.3)(x),
        shift + slope,
        strata(n),
        torch.randn(n, 2, generator=torch.Generator().manual_seed(0))[:, :1] * 0,
    ]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_shares_make_up_the_batch(world: int):
    torch.manual_seed(1)
    whole = gan_like(X)
    for rank in range(world):
        mine = X[rank::world]
        torch.manual_seed(1)
        with Share(rank, world, len(mine), len(X)):
            parts = gan_like(mine)
        for a, b in zip(whole, parts):
            assert a.dtype == b.dtype and torch.equal(a[rank::world], b)
    assert Share.current is None


def test_draws_that_are_no_rows_differ_between_ranks_and_single_numbers_do_not():
    drawn = []
    for rank in range(2):
        torch.manual_seed(1)
        with Share(rank, 2, 5, 10):
            drawn.append((torch.randn(7), torch.rand(1), torch.rand(())))
    (a, x, s), (b, y, t) = drawn
    assert not torch.equal(a, b) and torch.equal(x, y) and torch.equal(s, t)


def test_gradients_pass_through_a_shared_dropout():
    x = torch.ones(4, 3, requires_grad=True)
    with Share(1, 2, 4, 8):
        y = F.dropout(x, 0.5, True)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
