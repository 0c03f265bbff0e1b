"""The best Frechet distance of a GAN loss by the number of settings tried (Lucic et al. 2018)."""

from math import comb
from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.marks import INK

SHADES = ("#CC79A7", "#7b3b62", "#e3b3cd", "#a0527f", "#4a1f3a")


def least(values: list[float], k: int) -> float:
    """Expected least of `k` of the values, drawn without replacement."""
    n = len(values)
    return sum(v * comb(n - i, k - 1) for i, v in enumerate(sorted(values), 1)) / comb(n, k)


def ratio(values: list[float]) -> float:
    """Largest over smallest."""
    return max(values) / min(values)


def measure(study: Any) -> dict[str, Any]:
    """FD of each run by loss; ratios between losses and within them."""
    fd = {name: [r.value("fd", "randconv") for r in runs] for name, runs in study.runs.items()}
    trials = len(next(iter(fd.values())))
    return {f"fd, {name}": values for name, values in fd.items()} | {
        "ratio, best runs of the losses": ratio([min(values) for values in fd.values()]),
        "ratio, settings of a loss": [ratio(values) for values in fd.values()],
        "ratio at one trial": ratio([least(values, 1) for values in fd.values()]),
        "ratio at all trials": ratio([least(values, trials) for values in fd.values()]),
    }


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """FD by learning rate, and the expected best by trials."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    for i, ((name, records), shade, mark) in enumerate(zip(study.runs.items(), SHADES, "osD^v")):
        values = found[f"fd, {name}"]
        apart = 1.1 ** (i - 2)  # marks of one rate beside each other
        rates = [record.config["model"]["optim"]["lr"] * apart for record in records]
        left.plot(rates, values, mark, ms=5, color=shade)
        trials = range(1, len(values) + 1)
        best = [least(values, k) for k in trials]
        right.plot(trials, best, f"{mark}-", ms=4, color=shade, label=name)
    floor = next(
        row["value"]
        for row in next(iter(study.runs.values()))[0].references
        if row["of"] == "real" and row["metric"] == "fd" and row["extractor"].startswith("rand")
    )
    for ax in (left, right):
        ax.axhline(floor, color=INK, lw=0.8, ls=":", label="real data")
    left.set(xscale="log", yscale="log", xlabel="learning rate", title="each run")
    left.set_ylabel("Frechet distance (randconv)")
    right.set(xlabel="settings tried", title="expected best")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
