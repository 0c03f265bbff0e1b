"""MAUVE: how the two errors of a language model trade off, over a clustering of features."""

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, Value, metric

SCALE = 5.0  # c in exp(-c KL)
SEEDS = 5


def histograms(X: Tensor, Y: Tensor, buckets: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frequencies of both sets in `buckets` clusters of their unit vectors, reduced to the
    principal components that hold nine tenths of the variance (Pillutla et al. 2021, section
    3)."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    Z = torch.nn.functional.normalize(torch.cat([X, Y]), dim=1).cpu().numpy()
    if Z.shape[1] > 1:
        Z = PCA(0.9, svd_solver="full").fit_transform(Z)
    with np.errstate(all="ignore"):
        found = KMeans(buckets, n_init=5, random_state=seed).fit(Z).labels_
    counts = (np.bincount(part, minlength=buckets) for part in np.split(found, [len(X)]))
    return tuple(torch.from_numpy(c / c.sum()) for c in counts)


def frontier_area(p: Tensor, q: Tensor, points: int = 25, scale: float = SCALE) -> float:
    """Area under `(exp(-c KL(q | r)), exp(-c KL(p | r)))` over the mixtures `r = w p + (1 - w) q`
    (Pillutla et al. 2021, equations 1 and 2); 1 for equal laws."""
    w = torch.linspace(1e-6, 1 - 1e-6, points, dtype=p.dtype)[:, None]
    r = w * p + (1 - w) * q
    x, y = ((-scale * (torch.xlogy(a, a) - torch.xlogy(a, r)).sum(1)).exp() for a in (q, p))
    zero, one = x.new_zeros(1), x.new_ones(1)
    # From (1, 0), where r = q, to (0, 1); by the trapezoids of either axis.
    x, y = torch.cat([one, x, zero]), torch.cat([zero, y, one])
    return float(0.5 * (torch.trapezoid(x, y) - torch.trapezoid(y, x)))


@metric(
    "mauve",
    needs=FEATURES,
    better="high",
    axis="fidelity",
    min_n=lambda d: 20,
    cost="slow",
    shown=False,
)
def mauve(evidence: Evidence) -> Value:
    """Area under the divergence curve over clusters of the features, a tenth as many as examples;
    mean and standard deviation over five clusterings."""
    n = min(len(evidence.ref), len(evidence.gen))
    X, Y = evidence.ref[:n], evidence.gen[:n]
    buckets = max(2, round(n / 10))
    areas = [frontier_area(*histograms(X, Y, buckets, seed)) for seed in range(SEEDS)]
    values = torch.tensor(areas, dtype=torch.float64)
    return Value(float(values.mean()), float(values.std()))
