"""Evaluations and Frechet distance by path and target (Lipman et al. 2023, table 1)."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars

KINDS = {"evaluations": "nfe adaptive", "FD": "fd adaptive", "FD of 10 steps": "fd euler"}


def measure(study: Any) -> dict[str, list[float]]:
    """Evaluations of the adaptive solver, FD with it and with ten steps, a value a seed."""
    found = {}
    for kind, asked in KINDS.items():
        metric, sampler = asked.split()
        extractor = "randconv" if metric == "fd" else ""
        for name, records in study.runs.items():
            values = [record.value(metric, extractor, sampler) for record in records]
            found[f"{kind}, {name}"] = values
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A panel a measure."""
    fig, axes = plt.subplots(1, 3, figsize=(9.5, 2.2), layout="constrained", sharey=True)
    titles = ("evaluations, adaptive solver", "FD, adaptive solver", "FD, ten Euler steps")
    for ax, kind, title in zip(axes, KINDS, titles):
        bars(ax, {n: found[f"{kind}, {n}"] for n in study.runs}, colour("diffusion"))
        ax.set_title(title)
    return fig
