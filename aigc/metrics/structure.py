"""Metrics from nearest neighbours: fidelity and diversity apart, and memorisation.

X is the reference, Y the generated set, float64 `(n, d)`; the order matters.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, metric

K = 5  # neighbours, part of the protocol by the metrics' version


def distances(A: Tensor, B: Tensor, chunk: int = 1024) -> Iterator[Tensor]:
    """Euclidean distances of rows of `A` to all rows of `B`, `(chunk, len(B))` at a time."""
    for part in A.split(chunk):
        yield torch.cdist(part, B)


def radii(X: Tensor, k: int = K) -> Tensor:
    """Distance of each row to its k-th nearest other row `(n,)`."""
    k = min(k, len(X) - 1)
    return torch.cat([d.kthvalue(k + 1, dim=1).values for d in distances(X, X)])


def prdc(X: Tensor, Y: Tensor, k: int = K) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020).

    Never holds more than a slab of the distance matrix.
    """
    radius_x, radius_y = radii(X, k), radii(Y, k)
    inside, recalled, covered = [], [], []
    for slab, own in zip(distances(X, Y), radius_x.split(1024)):
        inside.append((slab < own[:, None]).sum(0))
        covered.append(slab.min(1).values < own)
        recalled.append((slab < radius_y).any(1))
    count = torch.stack(inside).sum(0)  # balls of real examples around each generated one
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
