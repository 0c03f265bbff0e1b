"""Modes captured and share of good samples, from the previews of the runs.

As in PacGAN (Lin et al. 2018): a sample is good within three standard deviations of the nearest
mode, and a mode is captured that has a good sample among 2,500.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from aigc.analysis.compare import interval
from aigc.analysis.figures import colour

ANGLE, AXIS = 2 * np.pi * np.arange(8) / 8, 2.0 * np.arange(-2, 3)
LAWS = {
    "ring": (2 * np.stack([np.cos(ANGLE), np.sin(ANGLE)], 1), 0.1),
    "grid": (np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2), 0.05),
}
FIRST = {}  # samples of the first seed


def count(points: np.ndarray, data: str) -> tuple[int, float]:
    """Modes captured, and the share of good samples."""
    centres, sd = LAWS[data]
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    good = distance.min(1) < 3 * sd
    return len(set(distance.argmin(1)[good])), float(good.mean())


def measure(study: Any) -> dict[str, list[float]]:
    """`<data> <game> modes` and `... good`, a value a seed."""
    found: dict[str, list[float]] = {}
    for game, records in study.runs.items():
        for record in records:
            points = pd.read_csv(record.dir / "samples" / "preview" / "samples.csv").to_numpy()
            FIRST.setdefault((record.dataset, game), points)
            for name, value in zip(("modes", "good"), count(points, record.dataset)):
                found.setdefault(f"{record.dataset} {game} {name}", []).append(value)
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A row a data set: samples of the first seed with the modes as circles, and both measures."""
    games = list(study.runs)
    size = (2 * len(games) + 4.6, 4.4)
    fig, axes = plt.subplots(2, len(games) + 2, figsize=size, layout="constrained")
    for row, (data, (centres, _)) in zip(axes, LAWS.items()):
        for axis, game in zip(row, games):
            axis.scatter(*FIRST[data, game].T, s=1, color=colour("gan"), linewidths=0)
            axis.scatter(*centres.T, s=14, facecolors="none", edgecolors="#24292f", lw=0.6)
            axis.set(xticks=[], yticks=[], aspect="equal", title=f"{data}, {game}")
        titles = {"modes": f"modes of {len(centres)}", "good": "share of good samples"}
        for axis, (name, title) in zip(row[-2:], titles.items()):
            stats = [interval(found[f"{data} {game} {name}"], None) for game in games]
            values, halves = zip(*((v, h or 0) for v, h in stats))
            axis.barh(games, values, xerr=halves, color=colour("gan"), capsize=2)
            axis.set_title(title)
            axis.invert_yaxis()
        row[-1].set_yticks([])
    return fig
