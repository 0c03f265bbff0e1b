"""Metrics from nearest neighbours: fidelity and diversity apart, and memorisation.

X is the reference, Y the generated set, float64 `(n, d)`; the order matters.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, metric

K = 5  # neighbours, part of the protocol by the metrics' version
CHUNK = 512  # rows of the distance matrix that are held at a time


def distances(A: Tensor, B: Tensor, chunk: int = 1024) -> Iterator[Tensor]:
    """Euclidean distances of rows of `A` to all rows of `B`, `(chunk, len(B))` at a time."""
    for part in A.split(chunk):
        yield torch.cdist(part, B)


def squares(A: Tensor, B: Tensor) -> Tensor:
    """Squared distances of all rows, by one product of matrices: `(len(A), len(B))`."""
    a, b = (torch.linalg.vector_norm(Z, dim=1).square() for Z in (A, B))
    return torch.addmm(b, A, B.T, alpha=-2).add_(a[:, None])


def square_radii(X: Tensor, k: int = K) -> Tensor:
    """Squared distance of each row to its k-th nearest other row `(n,)`, from each pair once."""
    k = min(k, len(X) - 1) + 1  # a row is its own nearest
    best = X.new_full((len(X), k), torch.inf)
    for i in range(0, len(X), CHUNK):
        slab = squares(X[i : i + CHUNK], X[i:])
        for first, found in ((0, slab), (len(slab), slab[:, len(slab) :].T)):
            rows = best[i + first :][: len(found)]
            near = found.topk(min(k, found.shape[1]), dim=1, largest=False).values
            rows[:] = torch.cat([rows, near], 1).topk(k, largest=False).values
    return best[:, -1]


def prdc(X: Tensor, Y: Tensor, k: int = K) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020).

    Never holds more than a slab of the distance matrix.
    """
    radius_x, radius_y = square_radii(X, k), square_radii(Y, k)
    count, recalled, covered = 0, [], []
    for part, own in zip(X.split(CHUNK), radius_x.split(CHUNK)):
        slab = squares(part, Y)
        count = count + (slab < own[:, None]).sum(0)  # real balls around each generated example
        covered.append(slab.amin(1) < own)
        recalled.append((slab < radius_y).any(1))
    return {
        "precision": float((count > 0).double().mean()),
        "recall": float(torch.cat(recalled).double().mean()),
        "density": float(count.double().mean() / k),
        "coverage": float(torch.cat(covered).double().mean()),
    }


def _by_neighbours(name: str, axis: str, about: str, **best: Any) -> None:
    def value(evidence: Evidence) -> float:
        return evidence.once("prdc", lambda: prdc(evidence.ref, evidence.gen))[name]

    value.__doc__ = about
    facts = {"better": "high", "axis": axis, "spread": True, "min_n": lambda d: 2 * K, **best}
    metric(name, needs=FEATURES, **facts)(value)


_by_neighbours(
    "precision", "fidelity", "Share of generated examples within the real support (k = 5)."
)
_by_neighbours(
    "recall", "diversity", "Share of real examples within the generated support (k = 5)."
)
_by_neighbours(
    "density",
    "fidelity",
    "Real neighbourhoods around a generated example, over k; 1 for equal laws, more for samples "
    "that crowd where data are dense.",
    better="target",
    target=1.0,
)
_by_neighbours(
    "coverage", "diversity", "Share of real neighbourhoods that hold a generated example."
)


def nearest(A: Tensor, B: Tensor) -> Tensor:
    """Distance of each row of `A` to the nearest row of `B`, `(len(A),)`."""
    return torch.cat([d.min(1).values for d in distances(A, B)])
