"""Distances between two sets of features. X is the reference, Y the generated set, float64 `(n,
d)`."""

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, metric

WIDE = 256  # features


def frechet(X: Tensor, Y: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al. 2017; Dowson & Landau
    1982).

    `|m_X - m_Y|**2 + tr(C_X + C_Y - 2 (C_X C_Y)**0.5)`, unbiased covariances.
    """
    mean = (X.mean(0) - Y.mean(0)).square().sum()
    if X.shape[1] >= WIDE and min(len(X), len(Y)) > X.shape[1]:
        for exact in (False, True):
            traces = _traces(covariance(X, exact), covariance(Y, exact))
            if traces is not None:
                return float(mean) + traces
    A, B = ((Z - Z.mean(0)) / (len(Z) - 1) ** 0.5 for Z in (X, Y))
    return float(mean + A.square().sum() + B.square().sum() - 2 * _fidelity(A, B))


def _fidelity(A: Tensor, B: Tensor) -> Tensor:
    """`tr((A' A B' B)**0.5)`: the nuclear norm of `A B'`, whose singular values keep the digits
    that a root of a product of covariances loses."""
    A, B = (torch.linalg.qr(M, mode="r").R if len(M) > M.shape[1] else M for M in (A, B))
    return torch.linalg.svdvals(A @ B.T).sum()


def _traces(C: np.ndarray, D: np.ndarray) -> float | None:
    """`tr(C + D - 2 (C D)**0.5)` by the eigenvalues of `C D`, for many features; None where `D`
    has no Cholesky factor."""
    from scipy.linalg import LinAlgError, eigh

    total = C.trace() + D.trace()
    options = {"lower": True, "eigvals_only": True, "check_finite": False}
    try:
        values = eigh(C, D, type=2, overwrite_a=True, overwrite_b=True, **options)
    except LinAlgError:
        return None
    return float(total - 2 * np.sqrt(values.clip(0)).sum())


def covariance(X: Tensor, exact: bool = True) -> np.ndarray:
    """Unbiased covariance `(d, d)`, of which a CPU computes the lower triangle alone.

    Otherwise products are of single precision and sums of 1,024 of them are added in double. The
    distance then changes by 2e-7 of itself at most where standard deviations span four orders of
    magnitude (measured); where they span more, the covariance has no Cholesky factor, which tells.
    """
    from scipy.linalg.blas import dsyrk, ssyrk

    n, mean = len(X), X.mean(0)
    if X.is_cuda:
        X = X - mean
        return (X.T @ X / (n - 1)).cpu().numpy()
    total = np.zeros((X.shape[1], X.shape[1]), order="F")
    for part in X.split(1024):
        rows = (part - mean).T
        if exact:
            dsyrk(1.0, rows.numpy(), beta=1.0, c=total, overwrite_c=True, lower=True)
        else:
            total += ssyrk(1.0, rows.float().numpy(), lower=True)
    return total / (n - 1)


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
