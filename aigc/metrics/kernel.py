"""Distances between two laws by kernels, by energy and by projections.

X is the reference, Y the generated set, float64 `(n, d)`; kernel matrices are made in slabs.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, metric

Kernel = Callable[[Tensor, Tensor], Tensor]


def cubic(a: Tensor, b: Tensor) -> Tensor:
    """`(a'b / d + 1)**3`, the kernel of KID (Binkowski et al. 2018, section 4)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def gaussian(sigma: float) -> Kernel:
    """`exp(-|a - b|**2 / 2 sigma**2)`."""
    return lambda a, b: (torch.cdist(a, b).square() / (-2 * sigma**2)).exp()


def mmd2(X: Tensor, Y: Tensor, kernel: Kernel, unbiased: bool = True) -> float:
    """Squared maximum mean discrepancy (Gretton et al. 2012, equations 3 and 5)."""
    n, m = len(X), len(Y)
    within = sum(_total(kernel, Z, Z, unbiased) / (len(Z) * (len(Z) - unbiased)) for Z in (X, Y))
    return float(within - 2 * _total(kernel, X, Y, False) / (n * m))


def _total(kernel: Kernel, A: Tensor, B: Tensor, without_own: bool) -> Tensor:
    """Sum of the kernel matrix, with or without its diagonal."""
    total = A.new_zeros(())
    for i, part in enumerate(A.split(1024)):
        slab = kernel(part, B)
        total += slab.sum() - (slab.diagonal(1024 * i).sum() if without_own else 0)
    return total


def median_distance(X: Tensor, most: int = 2000) -> float:
    """Median distance of two different examples, of the first `most`."""
    pairs = torch.pdist(X[:most])
    return float(np.median(pairs.cpu().numpy()))


@metric("kid", needs=FEATURES, better="low", axis="fidelity", spread=True, min_n=lambda d: 4)
def kid(evidence: Evidence) -> float:
    """Kernel distance with the cubic kernel on all examples: unbiased at any n, may be
    negative."""
    return mmd2(evidence.ref, evidence.gen, cubic)


FACTS = {"needs": FEATURES, "better": "low", "axis": "fidelity", "spread": True, "shown": False}


@metric("mmd", **FACTS, min_n=lambda d: 4)
def mmd(evidence: Evidence) -> float:
    """Unbiased squared MMD with a Gaussian kernel, as wide as the median distance of two
    reference examples."""
    return mmd2(evidence.ref, evidence.gen, gaussian(_width(evidence)))


@metric("kad", **FACTS, min_n=lambda d: 4, modalities=frozenset({"audio"}))
def kad(evidence: Evidence) -> float:
    """Kernel audio distance (Chung et al. 2025): 100 times that MMD; name it with its
    features."""
    return 100 * mmd(evidence)


def _width(evidence: Evidence) -> float:
    return evidence.once("width", lambda: median_distance(evidence.ref))


def sliced_w2(X: Tensor, Y: Tensor, directions: int = 200, seed: int = 0) -> float:
    """Root of the mean squared Wasserstein distance over random lines (Bonneel et al. 2015); the
    lines depend on `seed` alone, and `n` is that of the smaller set."""
    lines = np.random.RandomState(seed).randn(directions, X.shape[1])
    lines = torch.from_numpy(lines / np.linalg.norm(lines, axis=1, keepdims=True)).to(X)
    n = min(len(X), len(Y))
    a, b = ((Z[:n] @ lines.T).sort(0).values for Z in (X, Y))
    return float((a - b).square().mean().sqrt())


@metric("sliced_w2", **FACTS)
def sliced(evidence: Evidence) -> float:
    """Wasserstein-2 distance averaged over 200 lines through the features; biased by small n."""
    return sliced_w2(evidence.ref, evidence.gen)


@metric("energy", **FACTS)
def energy(evidence: Evidence) -> float:
    """Energy distance `2 E|x - y| - E|x - x'| - E|y - y'|` (Szekely & Rizzo 2013)."""
    return -mmd2(evidence.ref, evidence.gen, torch.cdist, unbiased=False)
