"""Likelihood and Frechet distance by noise schedule and variance (Nichol & Dhariwal 2021)."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars

TITLES = {"bits": "bits per dimension, upper bound", "FD": "Frechet distance (randconv)"}


def measure(study: Any) -> dict[str, list[float]]:
    """Bits per dimension (an upper bound) and FD on random features, a value a seed."""
    found = {}
    for name, records in study.runs.items():
        found[f"bits, {name}"] = [record.value("bits_per_dim") for record in records]
        found[f"FD, {name}"] = [record.value("fd", "randconv") for record in records]
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A panel a measure."""
    fig, axes = plt.subplots(1, 2, figsize=(8, 2.2), layout="constrained", sharey=True)
    for ax, (kind, title) in zip(axes, TITLES.items()):
        own = {name: found[f"{kind}, {name}"] for name in study.runs}
        bars(ax, own, colour("diffusion"), zero=kind != "bits")
        ax.set_title(title)
    return fig
