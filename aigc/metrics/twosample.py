"""Two-sample tests by classifiers: can one tell real from generated? X is the reference."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, Value, metric

FACTS = {"needs": FEATURES, "better": "target", "target": 0.5, "axis": "fidelity"}
FACTS["min_n"] = lambda d: 20


@metric("c2st", **FACTS)
def c2st(evidence: Evidence) -> Value:
    """Accuracy of a logistic classifier of real against generated; 0.5 is best."""
    from sklearn.linear_model import LogisticRegression

    return _two_sample(evidence, LogisticRegression(max_iter=1000))


@metric("c2st_knn", **FACTS)
def c2st_knn(evidence: Evidence) -> Value:
    """The same of a 5-nearest-neighbour classifier, which sees what no plane separates."""
    from sklearn.neighbors import KNeighborsClassifier

    return _two_sample(evidence, KNeighborsClassifier(5))


@metric("c2st_trees", **FACTS, cost="model", shown=False)
def c2st_trees(evidence: Evidence) -> Value:
    """The same of boosted trees, the strongest of the three on tables."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _two_sample(evidence, HistGradientBoostingClassifier(max_iter=50, random_state=0))


def _two_sample(evidence: Evidence, classifier: Any) -> Value:
    """Accuracy on equal numbers of both kinds, its binomial standard deviation, and the chance
    of one as high by guessing."""
    from scipy.stats import binom

    n = min(len(evidence.ref), len(evidence.gen))
    accuracy = classifier_accuracy(evidence.ref[:n], evidence.gen[:n], classifier)
    p = float(binom.sf(round(accuracy * 2 * n) - 1, 2 * n, 0.5))
    return Value(accuracy, (accuracy * (1 - accuracy) / (2 * n)) ** 0.5, p)


def classifier_accuracy(X: Tensor, Y: Tensor, classifier: Any, folds: int = 5) -> float:
    """Cross-validated accuracy of a classifier told X from Y (Lopez-Paz & Oquab 2017)."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    data = torch.cat([X, Y]).cpu().numpy()
    labels = np.repeat([0, 1], [len(X), len(Y)])
    cut = StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(classifier, data, labels, cv=cut).mean())
