"""Nearest rows and balls are those of all distances in float64, to the bit, whatever the data."""

import pytest
import torch
from torch import Tensor

from aigc.metrics import neighbours
from aigc.metrics.neighbours import EXACT, _kth, square_kth
from aigc.metrics.structure import nearest, prdc

generator = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=EXACT)


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, generator=generator).double()


def wide(decades: int) -> Tensor:
    return normal(120, 8) * 10 ** (decades * torch.rand(120, 1, generator=generator).double())


def clumps(width: float) -> Tensor:
    return normal(3, 12).repeat(40, 1) + width * normal(120, 12)


DATA = {
    "normal": (normal(130, 16), 1.1 * normal(110, 16)),
    "far from the origin": (normal(120, 16) + 1e8, normal(120, 16) + 1e8),
    "far from each other": (normal(120, 16), 0.1 * normal(120, 16) + 1e6),
    "of other size": (1e-3 * normal(90, 8), 1e3 * normal(90, 8)),
    "duplicates": (normal(20, 8).repeat(6, 1), normal(20, 8).repeat(5, 1)),
    "half of one point": tuple(
        torch.cat([normal(60, 8), normal(1, 8).expand(60, 8)]) for _ in "xy"
    ),
    "ties": (whole(3, 150, 5), whole(3, 120, 5)),
    "one-hot": (torch.eye(9).double()[whole(9, 120).long()], torch.eye(9).double()),
    "constant": (torch.ones(30, 4).double(), torch.ones(20, 4).double()),
    "of many scales": (wide(24), wide(24)),
    "beyond float32": (wide(100), wide(-100)),
    "huge": (1e90 * normal(60, 8), 1e90 * normal(50, 8)),
    "small": (1e-90 * normal(60, 8), 1e-90 * normal(50, 8)),
    "squares underflow": (1e-200 * normal(20, 3), 1e-200 * normal(20, 3)),
    "columns of many scales": tuple(normal(90, 8) * torch.logspace(-20, 20, 8) for _ in "xy"),
    "clumps": (clumps(1e-2), clumps(1e-2)),
    "tight clumps": (clumps(1e-6), clumps(1e-7)),
    "near copies": (clumps(1e-15), normal(60, 12)),
    "few": (normal(3, 2), normal(1, 2)),
    "many features": (normal(40, 3000), normal(30, 3000)),
    "a line": (whole(9, 60, 1), whole(9, 60, 1) + 0.5),
}


def squares(A: Tensor, B: Tensor) -> Tensor:
    return (A.double()[:, None] - B.double()).square().sum(-1)


def radii(X: Tensor, k: int = 5) -> Tensor:
    return squares(X, X).sort().values[:, min(k, len(X) - 1)]


def by_all_distances(X: Tensor, Y: Tensor, k: int = 5) -> dict[str, float]:
    found = squares(X, Y)
    real, fake = found < radii(X, k)[:, None], found < radii(Y, k)
    return {
        "precision": float(real.any(0).double().mean()),
        "recall": float(fake.any(1).double().mean()),
        "density": float(real.double().sum(0).mean() / k),
        "coverage": float(real.any(1).double().mean()),
    }


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("chunk", (1024, 33))
def test_all_is_as_by_all_distances(name: str, chunk: int, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    for dtype in (EXACT, torch.float32):
        X, Y = (Z.to(dtype) for Z in DATA[name])
        if not (X.isfinite().all() and Y.isfinite().all()):
            continue
        for Z in (X, Y):
            k = min(5, len(Z) - 1)
            assert torch.equal(square_kth(Z, k + 1), radii(Z))
        assert torch.equal(nearest(X, Y), squares(X, Y).amin(1).sqrt())
        assert prdc(X, Y) == by_all_distances(X, Y)
        assert prdc(X, X) == by_all_distances(X, X)


def test_single_precision_decides_what_it_can_and_no_more():
    X, _ = DATA["normal"]
    assert torch.equal(_kth(X, X, 6, torch.float32), radii(X))
    assert _kth(X, X, 6, EXACT) is not None
    tight, _ = DATA["tight clumps"]
    assert _kth(tight, tight, 6, torch.float32) is None


def test_the_bounds_hold():
    """Also of sums whose terms cancel, are all of one sign, or underflow."""
    for X in (normal(50, 500), normal(50, 500).abs() + 10, clumps(1e-6), wide(-100)):
        for dtype in (EXACT, torch.float32):
            Q = neighbours.rough(X, torch.zeros_like(X[0]), 1.0, dtype)
            low, true = Q.lower(Q), squares(X, X)
            assert (low <= true).all()
            assert (low + Q.gap + Q.gap[:, None] >= true).all()


def test_products_that_are_not_in_float32_are_not_taken_for_it(monkeypatch):
    X, Y = DATA["normal"]
    wanted = by_all_distances(X, Y)
    with torch.autocast("cpu", torch.bfloat16):
        assert neighbours.kinds(X) == (EXACT,) and prdc(X, Y) == wanted
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert neighbours.kinds(X) == (EXACT,)


def test_rows_that_are_no_numbers_are_near_nothing():
    X, Y = (Z.clone() for Z in DATA["normal"])
    X[3, 2], Y[5, 0] = torch.nan, torch.inf
    good = radii(X).isfinite()
    assert torch.equal(square_kth(X, 6)[good], radii(X)[good])
    assert prdc(X, Y) == by_all_distances(X, Y)
