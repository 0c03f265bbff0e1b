"""Tables: single columns, pairs of columns, and what a model trained on generated rows is
worth."""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from aigc.metrics.registry import Evidence, Rows, Undefined, Value, metric

FACTS = {"needs": {"rows"}, "modalities": frozenset({"tabular"}), "axis": "fidelity"}
BINS = 10  # of an ordered column beside a category


def total_variation(a: Tensor, b: Tensor) -> float:
    """Half the sum of the gaps of two columns' frequencies."""
    levels, index = torch.cat([a, b]).unique(return_inverse=True)
    parts = index.split([len(a), len(b)])
    p, q = (torch.bincount(x, minlength=len(levels)).double() / len(x) for x in parts)
    return float((p - q).abs().sum() / 2)


def kolmogorov_smirnov(a: Tensor, b: Tensor) -> float:
    """The largest gap of two columns' cumulative frequencies."""
    size = int(max(a.max(), b.max())) + 1
    p, q = (torch.bincount(x, minlength=size).double().cumsum(0) / len(x) for x in (a, b))
    return float((p - q).abs().max())


def column_scores(a: Tensor, b: Tensor, ordered: tuple[bool, ...]) -> list[float]:
    """For each column one minus its distance: Kolmogorov-Smirnov of ordered levels, else total
    variation."""
    gaps = (kolmogorov_smirnov if o else total_variation for o in ordered)
    return [1 - gap(x, y) for gap, x, y in zip(gaps, a.T, b.T)]


def pair_scores(a: Tensor, b: Tensor, ordered: tuple[bool, ...]) -> list[float]:
    """For each pair of columns one minus half the gap of their correlations, where both are
    ordered, else one minus the total variation of their joint frequencies."""
    out = []
    for i, j in combinations(range(len(ordered)), 2):
        if ordered[i] and ordered[j]:
            rho = [_correlation(x[:, i], x[:, j]) for x in (a, b)]
            if None not in rho:
                out.append(1 - abs(rho[0] - rho[1]) / 2)
        else:
            cells = [_joint(x, a, (i, j), ordered) for x in (a, b)]
            out.append(1 - total_variation(*cells))
    return out


def _correlation(x: Tensor, y: Tensor) -> float | None:
    """Pearson's correlation, None for a constant column."""
    x, y = (c.double() - c.double().mean() for c in (x, y))
    scale = (x.square().sum() * y.square().sum()).sqrt()
    return float((x * y).sum() / scale) if scale > 0 else None


def _joint(x: Tensor, reference: Tensor, pair: tuple[int, int], ordered: tuple[bool, ...]):
    """Two columns as one; ordered ones in ten bins of the reference's range."""
    parts = []
    for k in pair:
        top = int(max(reference[:, k].max(), x[:, k].max())) + 1
        parts.append(x[:, k] * BINS // max(top, BINS) if ordered[k] else x[:, k])
    return parts[0] * 100_000 + parts[1]


def _mean(scores: list[float]) -> float:
    if not scores:
        raise Undefined("no pair of columns that vary")
    return float(np.mean(scores))


def _halved(score, rows: Rows) -> Value:
    """A score of generated against reference rows, its spread over random halves of both."""
    values = []
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        parts = [
            x[torch.randperm(len(x), generator=generator)[: len(x) // 2]]
            for x in (rows.ref, rows.gen)
        ]
        values.append(_mean(score(*parts, rows.ordered)))
    return Value(_mean(score(rows.ref, rows.gen, rows.ordered)), float(np.std(values, ddof=1)))


@metric("column_shapes", **FACTS, better="high")
def column_shapes(evidence: Evidence) -> Value:
    """How alike single columns are, 0 to 1: mean of one minus Kolmogorov-Smirnov or total
    variation."""
    return _halved(column_scores, evidence.rows)


@metric("pair_trends", **FACTS, better="high")
def pair_trends(evidence: Evidence) -> Value:
    """How alike pairs of columns are, 0 to 1: mean over correlations and joint frequencies."""
    return _halved(pair_scores, evidence.rows)


def predictive_score(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], ordered: bool
) -> float:
    """How well boosted trees trained on `(x, y)` tell `y` of the test rows: accuracy of a
    category, R2 of an ordered target."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    (x, y), (test_x, test_y) = ((a.numpy(), b.numpy()) for a, b in (train, test))
    if not ordered and len(np.unique(y)) < 2:
        return float((test_y == y[0]).mean())  # what it always says
    kind = HistGradientBoostingRegressor if ordered else HistGradientBoostingClassifier
    # Without a penalty one row of a class of its own (an island of California housing) can spoil
    # all leaves: accuracy .783 instead of .924.
    trees = kind(max_iter=50, l2_regularization=1.0, random_state=0)
    return float(trees.fit(x, y).score(test_x, test_y))


def _targets(rows: Rows) -> tuple[list[tuple[Tensor, Tensor]], bool]:
    """Columns to predict from and what to predict, for generated, reference and training rows:
    the label (from the columns that are not the label again), or the last column."""
    if rows.labels is None:
        if rows.ref.shape[1] < 2:
            raise Undefined("a table of one column")
        return [(x[:, :-1], x[:, -1]) for x in rows[:3]], rows.ordered[-1]
    if rows.labels[0] is None:
        raise Undefined("these rows were generated without labels")
    y = [labels.cpu() for labels in rows.labels]
    again = label_columns(rows.train, y[2])
    kept = [j for j in range(rows.train.shape[1]) if j not in again]
    return list(zip((x[:, kept] if kept else x for x in rows[:3]), y)), False


def label_columns(rows: Tensor, y: Tensor) -> list[int]:
    """The columns of `rows (n, columns)` that are the label `y (n,)` again, under other names."""
    return [j for j in range(rows.shape[1]) if _one_to_one(rows[:, j], y)]


def _one_to_one(a: Tensor, b: Tensor) -> bool:
    """Whether each value of one column goes with one of the other."""
    pairs = torch.stack([a, b], 1).unique(dim=0)
    return len(pairs) == len(a.unique()) == len(b.unique())


def _utility(evidence: Evidence) -> tuple[float, float]:
    """Scores of models trained on generated rows, and on as many real ones."""

    def scores() -> tuple[float, float]:
        (gen, test, train), ordered = _targets(evidence.rows)
        generator = torch.Generator().manual_seed(0)
        some = torch.randperm(len(train[1]), generator=generator)[: len(gen[1])]
        real = tuple(part[some] for part in train)
        return tuple(predictive_score(fit, test, ordered) for fit in (gen, real))

    return evidence.once("utility", scores)


@metric("tstr", **FACTS, better="high", cost="model", shown=False, version=2)
def tstr(evidence: Evidence) -> Value:
    """Train on synthetic, test on real (Esteban et al. 2017): accuracy (R2 of an ordered target)
    of boosted trees that predict the label, or the last column."""
    return Value(_utility(evidence)[0])


@metric("tstr_ratio", **FACTS, better="high", cost="model", shown=False, version=2)
def tstr_ratio(evidence: Evidence) -> Value:
    """The same over what as many real training rows give (TRTR)."""
    synthetic, real = _utility(evidence)
    if real <= 0:
        raise Undefined("real rows predict no better than a constant")
    return Value(synthetic / real)
