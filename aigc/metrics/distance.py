"""Distances between two sets of features. X is the reference, Y the generated set, float64 `(n,
d)`."""

import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, metric

WIDE = 256  # features


def frechet(X: Tensor, Y: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al. 2017; Dowson & Landau
    1982).

    `|m_X - m_Y|**2 + tr(C_X + C_Y - 2 (C_X C_Y)**0.5)`, unbiased covariances; the trace of the
    root is the nuclear norm of `A_X A_Y'`, where `A' A = C`.
    """
    mean = (X.mean(0) - Y.mean(0)).square().sum()
    A, B = _centred(X), _centred(Y)
    return float(mean + A.square().sum() + B.square().sum() - 2 * _fidelity(A, B))


def _centred(X: Tensor) -> Tensor:
    """A matrix `A` with `A' A` the covariance of `X`."""
    return (X - X.mean(0)) / (len(X) - 1) ** 0.5


def _fidelity(A: Tensor, B: Tensor) -> Tensor:
    """`tr((A' A B' B)**0.5)`, the nuclear norm of `A B'`.

    Its singular values keep the digits that a root of a product of covariances loses. For many
    features the eigenvalues of `L' (B' B) L`, where `L L' = A' A`, are as good to about 1e-6 and
    take half the time; where the covariance has no such factor, there are the singular values.
    """
    n, d = min(len(A), len(B)), A.shape[1]
    if d >= WIDE and n > d:
        L, broken = torch.linalg.cholesky_ex(A.T @ A)
        if not broken:
            return torch.linalg.eigvalsh(L.T @ (B.T @ B) @ L).clamp(min=0).sqrt().sum()
    A, B = (torch.linalg.qr(M, mode="r").R if len(M) > d else M for M in (A, B))
    return torch.linalg.svdvals(A @ B.T).sum()


@metric(
    "fd",
    needs=FEATURES,
    better="low",
    axis="fidelity",
    spread=True,
    min_n=lambda d: 2 * d,
)
def fd(evidence: Evidence) -> float:
    """Frechet distance on the named features; biased upwards by small n, so n is part of the
    protocol."""
    return frechet(evidence.ref, evidence.gen)


def frechet_at_infinity(X: Tensor, Y: Tensor, sizes: int = 15) -> float:
    """Frechet distance extrapolated to infinitely many examples (Chong & Forsyth 2020, section 4):
    the intercept of a line through its values at `sizes` sizes against one over the size.

    Both sets are cut, since both are finite. Sizes are spread evenly in `1 / n`, from twice the
    features or a tenth of the examples, whichever is more.
    """
    n, least = min(len(X), len(Y)), max(2 * X.shape[1], min(len(X), len(Y)) // 10)
    generator = torch.Generator().manual_seed(0)
    inverse, values = torch.linspace(1 / n, 1 / least, sizes, dtype=torch.float64), []
    for size in inverse.reciprocal().round().long().tolist():
        rows = (torch.randperm(len(Z), generator=generator)[:size] for Z in (X, Y))
        values.append(frechet(*(Z[r] for Z, r in zip((X, Y), rows))))
    return intercept(inverse, torch.tensor(values, dtype=torch.float64))


def intercept(x: Tensor, y: Tensor) -> float:
    """Where the least-squares line through the points meets `x = 0`."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(y.mean() - slope * x.mean())


@metric(
    "fd_inf",
    needs=FEATURES,
    better="low",
    axis="fidelity",
    spread=True,
    min_n=lambda d: 4 * d,
    cost="slow",
    shown=False,
)
def fd_inf(evidence: Evidence) -> float:
    """Frechet distance extrapolated to infinitely many examples: what is left without the bias of
    small n."""
    return frechet_at_infinity(evidence.ref, evidence.gen)
