"""Nearest rows and balls around rows, exact, at about the price of products in float32.

A product in float32 bounds every squared distance from below and above; what the bounds leave open
is computed in float64, from differences. `gamma_n = n u / (1 - n u)` bounds the relative error of
`n` roundings, and so of a sum of `n` products in any order (Higham 2002, lemma 3.1, equation 3.5):
with `a = |x|^2` and `b = |y|^2`, `a + b - 2 x.y` is off by `2 gamma (a + b)` at most. The data are
centred, so that `a` and `b` are small. Where too much is left open, products in float64 follow.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product
from math import frexp, isfinite
from typing import NamedTuple

import torch
from torch import Tensor

EXACT = torch.float64
CHUNK = 1024  # rows and columns of the distance matrix that are held at a time
SPARE = 4  # candidates kept beyond the k-th: more than bounds usually leave open
OPEN = 0.02  # share left open by float32 above which float64 is cheaper
TINY = 1e-30  # more than what underflows, of numbers up to 1


class Rough(NamedTuple):
    """Rows `(n, d)`, centred and scaled; what a row adds to the lower bound `low (n,)`, and to the
    distance of the two bounds `gap (n,)`."""

    rows: Tensor
    low: Tensor
    gap: Tensor

    def part(self, rows: slice) -> "Rough":
        """Some rows."""
        return Rough(*(x[rows] for x in self))

    def lower(self, other: "Rough") -> Tensor:
        """Below the squared distances of all pairs of rows `(n, m)`."""
        slab = torch.addmm(other.low, self.rows, other.rows.T, alpha=-2)
        return slab.add_(self.low[:, None])


def frame(X: Tensor, *others: Tensor) -> tuple[Tensor, float]:
    """The mean of the rows of `X`, and a power of two that brings all data into [-1, 1]."""
    centre = X.double().mean(0)
    reach = max(float(max((Z.amax(0) - centre).max(), (centre - Z.amin(0)).max()))
                for Z in (X, *others))  # fmt: skip
    exponent = frexp(reach)[1] if isfinite(reach) else 0
    return centre, 2.0 ** -max(-500, min(exponent, 500))  # its square is a number, too


def rough(X: Tensor, centre: Tensor, scale: float, dtype: torch.dtype) -> Rough:
    """`X` for products in `dtype`."""
    n = X.shape[1] + 32  # further roundings: of the data, the norms, the sums and the bounds
    single, double = (n * u / (1 - n * u) for u in (torch.finfo(t).eps / 2 for t in (dtype, EXACT)))
    slack = 2 * single + 4 * double  # float64's own distances and norms are off as well
    rows, square = X.new_empty(X.shape, dtype=dtype), X.new_empty(len(X), dtype=EXACT)
    for part, row, sq in zip(*(Z.split(128) for Z in (X, rows, square))):
        row.copy_(moved := (part.double() - centre).mul_(scale))
        sq.copy_(torch.linalg.vector_norm(moved, dim=1).square_())
    low, gap = (1 - slack) * square - TINY, 2 * (slack * square + TINY)
    return Rough(rows, low.to(dtype), gap.to(dtype))


def kinds(X: Tensor) -> tuple[torch.dtype, ...]:
    """In what to multiply, the cheapest first; float32 only where it is float32 indeed."""
    plain = torch.get_float32_matmul_precision() == "highest"
    single = plain and not torch.is_autocast_enabled(X.device.type)
    return (torch.float32, EXACT) if single else (EXACT,)


def squares(A: Tensor, i: Tensor, B: Tensor, j: Tensor) -> Tensor:
    """Squared distances of the rows `A[i]` to the rows `B[j]`, `(len(i),)`, from differences in
    float64: of a pair always the same bits, so that equal distances are equal."""
    found = torch.empty(len(i), dtype=EXACT, device=A.device)
    for a, b, out in zip(*(Z.split(max(1, 2**15 // A.shape[1])) for Z in (i, j, found))):
        torch.sum(A[a].double().sub_(B[b].double()).square_(), 1, out=out)
    return found


def square_kth(A: Tensor, k: int, B: Tensor | None = None) -> Tensor:
    """Squared distance of each row of `A (n, d)` to the k-th nearest row of `B (m, d)`, `(n,)`, in
    float64; B is A itself, a row its own nearest, unless it is given."""
    tries = (_kth(A, A if B is None else B, k, dtype) for dtype in kinds(A))
    return next(radii for radii in tries if radii is not None)


def _kth(A: Tensor, B: Tensor, k: int, dtype: torch.dtype) -> Tensor | None:
    """The same; None where products in `dtype` leave too much open."""
    (centre, scale), keep = frame(B, A), min(k + SPARE, len(B))
    Q = R = rough(B, centre, scale, dtype)
    tiles = combinations_with_replacement(_slices(A), 2)  # each pair once
    if A is not B:
        Q, tiles = rough(A, centre, scale, dtype), product(_slices(A), _slices(B))
    low = A.new_full((len(A), keep), torch.nan, dtype=dtype)  # the lowest bounds of each row
    near = torch.zeros_like(low, dtype=torch.long)  # and whose they are
    for i, j in tiles:
        views = [(i, j, slab := Q.part(i).lower(R.part(j)))]
        if A is B and i != j:
            views += [(j, i, slab.T.contiguous())]
        for rows, of, found in views:
            values, index = found.topk(min(keep, found.shape[1]), largest=False)
            low[rows], best = torch.cat([low[rows], values], 1).topk(keep, largest=False)
            near[rows] = torch.cat([near[rows], index + of.start], 1).gather(1, best)
    up = low + R.gap[near] + Q.gap[:, None]
    most = up.kthvalue(k, keepdim=True).values
    nearer, further = up < low[:, k - 1 : k], low > most
    found = torch.full_like(low, torch.inf, dtype=EXACT).masked_fill_(nearer, 0)
    radii = _smallest(k, A, B, found, ~nearer & ~further, near)
    whole = (low[:, -1] < torch.inf) & (keep == len(B))  # and not NaN
    left = (~(further[:, -1] | whole | (radii == 0))).nonzero()[:, 0]
    every = torch.arange(len(B), device=A.device)
    for rows in left.split(max(1, CHUNK**2 // len(B))):  # more candidates than were kept: ties, say
        slab = Q.part(rows).lower(R)
        found = torch.full_like(slab, torch.inf, dtype=EXACT)
        unsure = ~(slab > most[rows])
        if dtype != EXACT and unsure.sum() > OPEN * unsure.numel():
            return None
        radii[rows] = _smallest(k, A[rows], B, found, unsure, every.expand_as(slab))
    return radii


def _smallest(k: int, A: Tensor, B: Tensor, found: Tensor, unsure: Tensor, near: Tensor) -> Tensor:
    """The k-th smallest in each row of `found` once what is open is filled in: the squared
    distances to the rows `near` of `B`."""
    row, column = unsure.nonzero(as_tuple=True)
    found[row, column] = squares(A, row, B, near[row, column])
    return found.kthvalue(k).values


def balls(X: Tensor, Y: Tensor, square_x: Tensor, square_y: Tensor) -> Iterator[tuple]:
    """Slices `i` of `X (n, d)` and `j` of `Y (m, d)` with, for their pairs `(len(i), len(j))`,
    whether the row of Y lies in the open ball around that of X, and the other way round; the
    balls have squared radii `square_x (n,)` and `square_y (m,)`."""
    place, dtype = frame(Y, X), kinds(X)[0]
    B = rough(Y, *place, dtype)
    for i in _slices(X):
        A = rough(X[i], *place, dtype)
        for j in _slices(Y):
            given = X[i], Y[j], square_x[i, None], square_y[j], place[1] ** 2
            found = _inside(A, B.part(j), *given, OPEN if dtype != EXACT else 1)
            if found is None:
                found = _inside(*(rough(Z, *place, EXACT) for Z in given[:2]), *given, 1)
            yield i, j, *found


def _inside(
    A: Rough,
    B: Rough,
    X: Tensor,
    Y: Tensor,
    square_x: Tensor,
    square_y: Tensor,
    scale: float,
    most: float,
) -> list[Tensor] | None:
    """The same for two slices; None where more than a share is left open."""
    low, kind = A.lower(B), A.rows.dtype
    up, within = (low + B.gap).add_(A.gap[:, None]), []
    for square in (square_x, square_y):
        below, above = (scale * square * (1 + 2 * s * torch.finfo(kind).eps) for s in (-1, 1))
        inside = up < below.to(kind)
        outside = low >= above.to(kind).masked_fill_(square == 0, -torch.inf)
        row, column = (~(inside | outside)).nonzero(as_tuple=True)
        if len(row) > most * low.numel():
            return None
        inside[row, column] = squares(X, row, Y, column) < square.expand(low.shape)[row, column]
        within.append(inside)
    return within


def _slices(Z: Tensor) -> list[slice]:
    return [slice(i, i + CHUNK) for i in range(0, len(Z), CHUNK)]
