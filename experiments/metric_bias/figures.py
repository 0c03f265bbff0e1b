"""What metrics say of two samples of the same Gaussian: bias of the Frechet distance by n, and
density and coverage beside their expectations."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from aigc.metrics.distance import frechet, frechet_at_infinity
from aigc.metrics.structure import K, prdc

D, SIZES, TRIES, MANY = 16, (125, 250, 500, 1000, 2000, 4000), 20, 150
LIMIT = 2 * D + D * (D + 1) / 2  # n x FD: of the means, and of the covariances
FD: dict[int, list[float]] = {}
COVERAGE: dict[int, list[float]] = {}


def pair(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two samples of a standard Gaussian, float64 `(n, d)` each."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, n, d, dtype=torch.float64, generator=generator)
    return both[0], both[1]


def expected_coverage(n: int, m: int, k: int = K) -> float:
    """Naeem et al. 2020, lemma 2: of `n` real balls, those that one of `m` equal draws hits."""
    i = np.arange(1, k + 1)
    return float(1 - np.prod((n - i) / (n + m - i)))


def measure(study: Any) -> dict[str, float]:
    """Means over independent pairs."""
    for n in SIZES:
        FD[n] = [frechet(*pair(n, D, 1000 * n + t)) for t in range(MANY)]
    for n in (50, 100, 200, 500):
        rows = [prdc(*pair(n, 2, 7 * n + t)) for t in range(TRIES)]
        COVERAGE[n] = [row["coverage"] for row in rows]
    mean = {n: float(np.mean(values)) for n, values in FD.items()}
    at_infinity = [frechet_at_infinity(*pair(500, D, t)) for t in range(TRIES)]
    wide = [prdc(*pair(500, 64, t)) for t in range(TRIES)]
    return {
        "n FD over its limit": 4000 * mean[4000] / LIMIT,
        "slope of FD": float(np.polyfit(np.log(SIZES), np.log(list(mean.values())), 1)[0]),
        "FD at infinity over FD": float(np.mean(at_infinity)) / mean[500],
        "density": float(np.mean([row["density"] for row in rows])),
        "coverage": float(np.mean(COVERAGE[500])),
        "precision in 2 dimensions": float(np.mean([row["precision"] for row in rows])),
        "precision in 64 dimensions": float(np.mean([row["precision"] for row in wide])),
    }


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """FD and coverage against n, with what theory says as lines."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for n, values in FD.items():
        left.plot([n] * len(values), values, "o", color="#0072B2", ms=3, alpha=0.3)
    left.plot(SIZES, LIMIT / np.array(SIZES), color="#24292f", lw=1, label=f"{LIMIT:.0f} / n")
    left.set(xscale="log", yscale="log", xlabel="examples n", ylabel="Frechet distance")
    left.set_xticks(SIZES, [str(n) for n in SIZES])
    left.minorticks_off()
    left.set_title("one Gaussian, 16 dimensions: the truth is 0")
    left.legend()
    ticks = np.arange(20, 500)
    right.plot(ticks, [expected_coverage(n, n) for n in ticks], color="#24292f", lw=1)
    for n, values in COVERAGE.items():
        right.plot([n] * len(values), values, "o", color="#009E73", ms=3, alpha=0.3)
    right.set(xlabel="examples n", ylabel="coverage (k = 5)", title="equal laws; the line: lemma 2")
    return fig
