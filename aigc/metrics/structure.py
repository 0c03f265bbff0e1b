"""Metrics from nearest neighbours: fidelity and diversity apart, and memorisation.

X is the reference, Y the generated set, float64 `(n, d)`; the order matters.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aigc.metrics.neighbours import balls, square_kth
from aigc.metrics.registry import FEATURES, Evidence, metric

K = 5  # neighbours, part of the protocol by the metrics' version


def distances(A: Tensor, B: Tensor, chunk: int = 1024) -> Iterator[Tensor]:
    """Euclidean distances of rows of `A` to all rows of `B`, `(chunk, len(B))` at a time."""
    for part in A.split(chunk):
        yield torch.cdist(part, B)


def prdc(X: Tensor, Y: Tensor, k: int = K) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020).

    Balls are open, distances exact in float64; never holds more than a tile of their matrix.
    """
    radii = (square_kth(Z, min(k, len(Z) - 1) + 1) for Z in (X, Y))  # a row is its own nearest
    count = torch.zeros(len(Y), dtype=torch.long, device=X.device)
    covered, recalled = torch.zeros(2, len(X), dtype=torch.bool, device=X.device)
    for i, j, around_x, around_y in balls(X, Y, *radii):
        count[j] += around_x.sum(0)  # real balls around each generated example
        covered[i] |= around_x.any(1)
        recalled[i] |= around_y.any(1)
    return {
        "precision": float((count > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(count.double().mean() / k),
        "coverage": float(covered.double().mean()),
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
    return square_kth(A, 1, B).sqrt()
