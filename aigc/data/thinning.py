"""Fewer training examples on purpose: a long tail of classes, or a handful of all."""

import numpy as np

from aigc.core.errors import BadInput

OPTIONS = ("imbalance", "limit")  # of any data set, as dataset.imbalance and dataset.limit


def tail_counts(counts: np.ndarray, imbalance: float) -> np.ndarray:
    """Examples left of each of K classes `(K,)`: `n_k = n_max imbalance**(-k / (K - 1))` (Cui et
    al. 2019), at least one and at most what there is."""
    fall = np.arange(len(counts)) / max(len(counts) - 1, 1)
    wanted = np.round(counts.max() * float(imbalance) ** -fall).astype(int)
    return np.minimum(counts, np.maximum(wanted, 1))


def thinned(
    n: int,
    labels: np.ndarray | None,
    imbalance: float | None = None,
    limit: int | None = None,
) -> np.ndarray:
    """Rows of a training split of `n` that are kept, in order; the same for every run.

    Sets are nested: a larger `imbalance` and a smaller `limit` keep some of what a milder one does.
    """
    order = np.random.RandomState(0).permutation(n)
    if imbalance is not None:
        if labels is None or labels.ndim > 1:
            raise BadInput(f"dataset.imbalance={imbalance}: these data have no classes")
        if imbalance < 1:
            raise BadInput(f"dataset.imbalance={imbalance}: at least 1, how much rarer the last is")
        sizes = tail_counts(np.bincount(labels), imbalance)
        order = order[_place_in_class(labels[order]) < sizes[labels[order]]]
    if limit is not None and limit < 1:
        raise BadInput(f"dataset.limit={limit}: at least 1")
    return np.sort(order[:limit])


def _place_in_class(labels: np.ndarray) -> np.ndarray:
    """How many of its own class stand before each example `(n,)`."""
    place = np.empty(len(labels), int)
    for k in np.unique(labels):
        place[labels == k] = np.arange((labels == k).sum())
    return place
