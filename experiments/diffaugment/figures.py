"""A GAN on a tenth of the digits with and without DiffAugment."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars

SHADES = {"none": "#999999", "DiffAugment": colour("gan")}


def gap(record: Any) -> pd.Series:
    """Critic's score of training pictures less that of unseen ones, by examples seen."""
    log = pd.read_csv(record.dir / "log.csv")
    log = log.pivot_table(index="examples", columns="name", values="value")
    unseen = log["val/score_real"].dropna()
    shown = log["train/score_real"].rolling(10, 1).mean()
    return shown.reindex(unseen.index, method="ffill") - unseen


def measure(study: Any) -> dict[str, list[float]]:
    """FD on two extractors, coverage, and how much the gap grows in the second half of training,
    a value a seed."""
    found = {}
    for name, records in study.runs.items():
        found[f"FD, {name}"] = [record.value("fd", "randconv") for record in records]
        found[f"FD pca, {name}"] = [record.value("fd", "pca") for record in records]
        found[f"coverage, {name}"] = [record.value("coverage", "randconv") for record in records]
        gaps = [gap(record) for record in records]
        found[f"growth of the gap, {name}"] = [
            float(g.iloc[-1] - g.iloc[len(g) // 2 - 1]) for g in gaps
        ]
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """FD by seed, the critic's gap, and samples of the first seed."""
    fig, axes = plt.subplots(1, 5, figsize=(14, 2.8), layout="constrained")
    titles = {"FD": "Frechet distance (randconv)", "FD pca": "Frechet distance (pca)"}
    for ax, (kind, title) in zip(axes, titles.items()):
        bars(ax, {n: found[f"{kind}, {n}"] for n in study.runs}, list(SHADES.values()))
        ax.set_title(title)
    for name, records in study.runs.items():
        for curve in map(gap, records):
            axes[2].plot(curve.index / 1000, curve, color=SHADES[name], lw=1)
    axes[2].set(title="critic: training less unseen", xlabel="thousand examples seen")
    for ax, (name, records) in zip(axes[3:], study.runs.items()):
        picture = Image.open(records[0].dir / "samples" / "preview" / "grid.png")
        ax.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255)
        ax.set(title=name, xticks=[], yticks=[])
    return fig
