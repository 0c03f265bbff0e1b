"""Distances between two sets of features. X is the reference, Y the generated set, float64 `(n,
d)`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import Evidence, metric

FEATURES = {"gen", "ref"}


def frechet(X: Tensor, Y: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al. 2017; Dowson & Landau
    1982).

    `|m_X - m_Y|**2 + tr(C_X + C_Y - 2 (C_X C_Y)**0.5)`, unbiased covariances; the trace of the
    root is the nuclear norm of `R_X R_Y'`, where `R' R = C`.
    """
    mean = (X.mean(0) - Y.mean(0)).square().sum()
    A, B = _root(X), _root(Y)
    cross = torch.linalg.svdvals(A @ B.T).sum()
    return float(mean + A.square().sum() + B.square().sum() - 2 * cross)


def _root(X: Tensor) -> Tensor:
    """A matrix `R` with `R' R` the covariance of `X`, at most `d` rows."""
    centred = (X - X.mean(0)) / (len(X) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R if len(X) > X.shape[1] else centred


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


@metric("c2st", needs=FEATURES, better="target", target=0.5, axis="fidelity", min_n=lambda d: 20)
def c2st(evidence: Evidence) -> tuple[float, float]:
    """Accuracy of a logistic classifier of real against generated; 0.5 is best."""
    from sklearn.linear_model import LogisticRegression

    return _two_sample(evidence, LogisticRegression(max_iter=1000))


@metric(
    "c2st_knn", needs=FEATURES, better="target", target=0.5, axis="fidelity", min_n=lambda d: 20
)
def c2st_knn(evidence: Evidence) -> tuple[float, float]:
    """The same of a 5-nearest-neighbour classifier, which sees what no plane separates."""
    from sklearn.neighbors import KNeighborsClassifier

    return _two_sample(evidence, KNeighborsClassifier(5))


def _two_sample(evidence: Evidence, classifier: Any) -> tuple[float, float]:
    """Accuracy on equal numbers of both kinds, and its binomial standard deviation."""
    n = min(len(evidence.ref), len(evidence.gen))
    accuracy = classifier_accuracy(evidence.ref[:n], evidence.gen[:n], classifier)
    return accuracy, (accuracy * (1 - accuracy) / (2 * n)) ** 0.5


def classifier_accuracy(X: Tensor, Y: Tensor, classifier: Any, folds: int = 5) -> float:
    """Cross-validated accuracy of a classifier told X from Y (Lopez-Paz & Oquab 2017)."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    data = torch.cat([X, Y]).cpu().numpy()
    labels = np.repeat([0, 1], [len(X), len(Y)])
    cut = StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(classifier, data, labels, cv=cut).mean())
