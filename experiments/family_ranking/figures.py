"""Does the order of the families change with the modality? Kendall's tau of their orders."""

from itertools import combinations, product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import kendalltau, rankdata

from aigc.analysis.compare import NAMES
from aigc.analysis.figures import colour
from aigc.analysis.load import Record
from aigc.analysis.marks import INK
from aigc.lab.conf import describe

EXTRACTORS = ("randconv", "pca")


def own_sampler(record: Record) -> str:
    """The sampler of the run's configuration; other studies judge the runs by others too."""
    return describe(record.config["sampler"])


def distances(study: Any) -> dict[tuple[str, str], dict[int, list[float]]]:
    """FD of the families, in one order, by `(modality, extractor)` and seed."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for (modality, records), extractor in product(study.runs.items(), EXTRACTORS):
        own = found.setdefault((modality, extractor), {})
        for record in sorted(records, key=lambda record: record.family):
            own.setdefault(record.config["seed"], []).append(
                record.value("fd", extractor, own_sampler(record))
            )
    return found


def tau(a: list[float], b: list[float]) -> float:
    """Kendall's tau of two orders; 1 for the same order, -1 for the opposite."""
    return float(kendalltau(a, b).statistic)


def measure(study: Any) -> dict[str, list[float]]:
    """A tau a pair of modalities (mean over extractors and pairs of seeds), a modality (mean over
    pairs of seeds), and a modality (between extractors, mean over seeds)."""
    found = distances(study)
    names = list(study.runs)

    def between(x: str, y: str) -> float:
        sets = [(found[x, e].values(), found[y, e].values()) for e in EXTRACTORS]
        return float(np.mean([tau(a, b) for one, two in sets for a, b in product(one, two)]))

    def seeds(x: str) -> float:
        sets = [combinations(found[x, e].values(), 2) for e in EXTRACTORS]
        return float(np.mean([tau(a, b) for pairs in sets for a, b in pairs]))

    def extractors(x: str) -> float:
        return float(
            np.mean([tau(*two) for two in zip(*(found[x, e].values() for e in EXTRACTORS))])
        )

    return {
        "tau between modalities": [between(x, y) for x, y in combinations(names, 2)],
        "tau between seeds": [seeds(x) for x in names],
        "tau between extractors": [extractors(x) for x in names],
    }


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """Mean ranks by modality, a panel an extractor; and the taus."""
    fig, axes = plt.subplots(1, 3, figsize=(9.5, 3), layout="constrained")
    names, sets = list(study.runs), distances(study)
    families = sorted({record.family for record in study.runs[names[0]]})
    for ax, extractor in zip(axes, EXTRACTORS):
        ranks = [rankdata(list(sets[n, extractor].values()), axis=1).mean(0) for n in names]
        for family, line in zip(families, np.array(ranks).T):
            ax.plot(line, "o-", ms=6, lw=2, color=colour(family), label=NAMES[family])
        ax.set_xticks(range(len(names)), names)
        ax.set(ylim=(len(families) + 0.3, 0.7), yticks=range(1, len(families) + 1))
        ax.set_title(f"mean rank by FD ({extractor})")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    last = axes[2]
    for i, values in enumerate(found.values()):
        last.plot(values, [i] * len(values), "o", ms=5, color=INK, alpha=0.5)
        last.plot(np.mean(values), i, "|", ms=18, mew=2, color=INK)
    last.set_yticks(range(3), [name.removeprefix("tau ") for name in found])
    last.set(xlim=(-1.05, 1.05), ylim=(2.5, -0.5), xlabel="Kendall's tau", title="same order?")
    return fig
