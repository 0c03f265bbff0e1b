"""How far the dimensions of a code are those of known factors: MIG, SAP and DCI.

Codes are floats `(N, L)`, factors whole numbers `(N, K)`. All factors are read as classes, ordered
or not, and codes are cut into 20 bins of equal width, both as in Locatello et al. 2019.
"""

import numpy as np

Array = np.ndarray


def disentanglement(codes: Array, factors: Array, seed: int = 0) -> dict[str, float]:
    """All scores by name."""
    return {
        "mig": mig(codes, factors),
        "sap": sap(codes, factors, seed),
        **dci(codes, factors, seed),
    }


def mutual_information(codes: Array, factors: Array, bins: int = 20) -> Array:
    """`I(z_i; v_k)` in nats of the binned codes, `(L, K)`: the plug-in estimate.

    It is biased upwards by about (bins - 1)(values - 1) / 2N (Miller 1955).
    """
    binned = [_binned(column, bins) for column in codes.T]
    return np.array([[_information(z, v) for v in factors.T] for z in binned])


def entropies(factors: Array) -> Array:
    """`H(v_k)` in nats, `(K,)`."""
    return np.array([_entropy(np.bincount(v)) for v in factors.T])


def mig(codes: Array, factors: Array, bins: int = 20) -> float:
    """Mutual information gap: for each factor the lead of the dimension that knows most of it
    over the next, as a share of the factor's entropy (Chen et al. 2018, eq. 6)."""
    information = np.sort(_padded(mutual_information(codes, factors, bins)), axis=0)
    return float(((information[-1] - information[-2]) / entropies(factors)).mean())


def sap(codes: Array, factors: Array, seed: int = 0) -> float:
    """Separated attribute predictability: the same lead in predicting the factor from one
    dimension (Kumar et al. 2018, section 3).

    A prediction is by thresholds, one fewer than the factor has values; its score is the
    balanced accuracy on the half of the examples that was not fitted, above chance.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    fit, test = _halves(len(codes), seed)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for i, z in enumerate(codes.T):
        for k, v in enumerate(factors.T):
            leaves = max(2, len(np.unique(v)))
            tree = DecisionTreeClassifier(
                max_leaf_nodes=leaves, class_weight="balanced", random_state=seed
            )
            found = tree.fit(z[fit, None], v[fit]).predict(z[test, None])
            scores[i, k] = max(0, balanced_accuracy_score(v[test], found, adjusted=True))
    scores = np.sort(_padded(scores), axis=0)
    return float((scores[-1] - scores[-2]).mean())


def dci(codes: Array, factors: Array, seed: int = 0, trees: int = 50) -> dict[str, float]:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018, section 2)
    from the importances of random forests.

    Informativeness is the accuracy on the half of the examples that was not fitted.
    """
    from sklearn.ensemble import RandomForestClassifier

    fit, test = _halves(len(codes), seed)
    importance, accuracy = [], []
    for v in factors.T:
        # All dimensions are open to every split: by chance one that knows nothing is not taken.
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed)
        forest.fit(codes[fit], v[fit])
        importance.append(forest.feature_importances_)
        accuracy.append(forest.score(codes[test], v[test]))
    disentangled, complete = importance_scores(np.stack(importance, axis=1))
    return {
        "dci_disentanglement": disentangled,
        "dci_completeness": complete,
        "dci_informativeness": float(np.mean(accuracy)),
    }


def importance_scores(importance: Array) -> tuple[float, float]:
    """Disentanglement and completeness of importances `(L, K)`: one minus the entropy of a row
    (weighted by its sum) and of a column, each as a share of its maximum."""
    weights = importance.sum(1) / max(importance.sum(), 1e-12)
    rows = 1 - _normalised_entropy(importance)
    columns = 1 - _normalised_entropy(importance.T)
    return float(weights @ rows), float(columns.mean())


def _normalised_entropy(importance: Array) -> Array:
    top = np.log(max(importance.shape[1], 2))
    return np.array([_entropy(row) if row.sum() else top for row in importance]) / top


def _padded(scores: Array) -> Array:
    """A code of one dimension leads over one that knows nothing."""
    return np.vstack([scores, np.zeros_like(scores[:1])]) if len(scores) == 1 else scores


def _binned(z: Array, bins: int) -> Array:
    edges = np.linspace(z.min(), z.max(), bins + 1)
    return np.digitize(z, edges[1:-1])


def _information(a: Array, b: Array) -> float:
    joint = np.histogram2d(a, b, bins=(np.arange(a.max() + 2), np.arange(b.max() + 2)))[0]
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())


def _entropy(counts: Array) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _halves(n: int, seed: int) -> tuple[Array, Array]:
    return tuple(np.array_split(np.random.RandomState(seed).permutation(n), 2))
