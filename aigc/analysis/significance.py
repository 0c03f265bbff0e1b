"""Which differences in a table mean something: over training seeds, and over extractors."""

from itertools import combinations
from typing import Any

SEEDS, LEVEL = 3, 0.05  # seeds that a line needs to be tested; of all tests together
TESTED = ("fd", "bits_per_dim", "bits_per_byte")


def rank(models: list[Any], column: Any) -> None:
    """Mark the best cell of the column's own protocol, unless kinds of likelihood mix or all are
    equal. Estimates of a distance that fall below zero are as good as zero."""
    cells = [line.cells[column] for line in models if column in line.cells]
    cells = [cell for cell in cells if not cell.foreign]
    if len(cells) < 2 or mixed_kinds(models, column):
        return
    if column.better == "target":
        gaps = [abs(cell.value - column.target) for cell in cells]
    else:
        low = column.better == "low"
        gaps = [max(cell.value, 0.0) if low else -cell.value for cell in cells]
    for cell, gap in zip(cells, gaps):
        cell.best = gap == min(gaps) < max(gaps)


def mixed_kinds(models: list[Any], column: Any) -> bool:
    """Whether exact likelihoods stand beside bounds."""
    kinds = {line.cells[column].kind for line in models if column in line.cells}
    return column.axis == "likelihood" and len(kinds) > 1


def agree(models: list[Any], columns: list[Any]) -> None:
    """Take the mark of the best from lines that are best on one extractor only, where there are
    several: a win is called when two agree."""
    for metric in {c.metric for c in columns}:
        same = [c for c in columns if c.metric == metric]
        ranked = [c for c in same if sum(_own(line, c) for line in models) > 1]
        for line in models if len(ranked) > 1 else []:
            if sum(_best(line, c) for c in ranked) < 2:
                for column in ranked:
                    if column in line.cells:
                        line.cells[column].best = False


def _own(line: Any, column: Any) -> bool:
    return column in line.cells and not line.cells[column].foreign


def _best(line: Any, column: Any) -> bool:
    return column in line.cells and line.cells[column].best


def orders(models: list[Any], columns: list[Any]) -> list[str]:
    """How alike the extractors order the models by Frechet distance, one line of text."""
    from scipy.stats import kendalltau

    out = []
    for a, b in combinations([c for c in columns if c.metric == "fd"], 2):
        both = [line.cells for line in models if a in line.cells and b in line.cells]
        if len(both) > 2:
            tau = kendalltau(*([cells[c].value for cells in both] for c in (a, b))).statistic
            names = " and ".join(c.extractor.split("@")[0] for c in (a, b))
            out.append(
                f"{names} order the models by FD with a Kendall tau of {tau:.2f}; bold needs two "
                "extractors that agree."
            )
    return out


def differences(models: list[Any], columns: list[Any]) -> list[str]:
    """The differences of Frechet distance and likelihood between lines with enough seeds that
    Welch's test finds, with Holm's correction over all of them; one line of text, or none."""
    tests = []
    for column in (c for c in columns if c.metric in TESTED):
        cells = [(line, line.cells[column]) for line in models if column in line.cells]
        cells = [(line, c) for line, c in cells if len(c.values) >= SEEDS and not c.foreign]
        for (line, x), (other, y) in combinations(cells, 2):
            if x.kind == y.kind:
                better, worse = (line, other) if x.value < y.value else (other, line)
                name = f"{better.title} below {worse.title} ({column.title})"
                tests.append((name, welch(x.values, y.values)))
    found = [name for (name, _), p in zip(tests, holm([p for _, p in tests])) if p < LEVEL]
    if not tests:
        return []
    listed = f": {'; '.join(found)}" if found else ""
    return [
        f"Of {len(tests)} differences of FD and likelihood between models with at least {SEEDS} "
        f"seeds, {len(found)} are significant at 5 % (Welch's t, Holm){listed}."
    ]


def welch(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Two-sided p of equal means without equal variances (Welch 1947)."""
    from scipy.stats import ttest_ind

    if len({*a}) == len({*b}) == 1:  # no spread: equal or certainly not
        return float(a[0] == b[0])
    return float(ttest_ind(a, b, equal_var=False).pvalue)


def holm(p: list[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979)."""
    adjusted, running = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = running
    return adjusted
