"""Modes captured and share of good samples, a table and a picture from the previews of the runs.

python experiments/ring_grid/figures.py runs/ring_grid [modes.png]

As in PacGAN (Lin et al. 2018): a sample is good within three standard deviations of the nearest
mode, and a mode is captured that has a good sample among 2,500.
"""

import sys
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import t

from aigc.runs import RunDir

ANGLE, AXIS = 2 * np.pi * np.arange(8) / 8, 2.0 * np.arange(-2, 3)
LAWS = {
    "ring": (2 * np.stack([np.cos(ANGLE), np.sin(ANGLE)], 1), 0.1),
    "grid": (np.stack(np.meshgrid(AXIS, AXIS), -1).reshape(-1, 2), 0.05),
}
METHODS = ("vanilla", "PacGAN2", "WGAN-GP", "R1", "R3GAN")


def method(model: dict) -> str:
    """The name of a run's settings."""
    if model["pack"] > 1:
        return f"PacGAN{model['pack']}"
    if model["gp"]:
        return "WGAN-GP"
    return "R3GAN" if model["r2"] else "R1" if model["r1"] else "vanilla"


def count(points: np.ndarray, data: str) -> tuple[int, float]:
    """Modes captured, and the share of good samples."""
    centres, sd = LAWS[data]
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    good = distance.min(1) < 3 * sd
    return len(set(distance.argmin(1)[good])), good.mean()


def mean(values: list[float]) -> tuple[float, float]:
    """The mean and half of its 95 % t interval, which one seed has not."""
    n = len(values)
    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5 if n > 1 else np.nan
    return float(np.mean(values)), float(half)


def main(study: str, picture: str = "modes.png") -> None:
    """Print the table, draw the figure."""
    found, first = defaultdict(list), {}
    for run in RunDir.below(study):
        data, name = run.config["dataset"]["name"], method(run.config["model"])
        if run.is_done:
            points = pd.read_csv(run / "samples" / "preview" / "samples.csv").to_numpy()
            found[data, name].append(count(points, data))
            first.setdefault((data, name), points)
    names = [name for name in METHODS if any((data, name) in first for data in LAWS)]
    width = 2 * len(names) + 4.6
    fig, axes = plt.subplots(2, len(names) + 2, figsize=(width, 4.4), layout="constrained")
    for row, data in zip(axes, LAWS):
        have = [name for name in names if (data, name) in first]
        stats = [[mean(list(v)) for v in zip(*found[data, name])] for name in have]
        for name, both in zip(have, stats):
            cells = " | ".join(f"{m:.3g} ± {h:.2g}" if h == h else f"{m:.3g}" for m, h in both)
            print(f"| {data} | {name} | {cells} | {len(found[data, name])} |")
        for axis, name in zip(row, names):
            if name not in have:
                axis.axis("off")
                continue
            axis.scatter(*first[data, name].T, s=1, color="#CC79A7", linewidths=0)
            axis.scatter(*LAWS[data][0].T, s=14, facecolors="none", edgecolors="#24292f", lw=0.6)
            axis.set(xticks=[], yticks=[], aspect="equal", title=name if data == "ring" else "")
        row[0].set_ylabel(data)
        for i, title in enumerate((f"modes of {len(LAWS[data][0])}", "share of good samples")):
            values, halves = zip(*[both[i] for both in stats])
            row[len(names) + i].barh(have, values, xerr=halves, color="#CC79A7", capsize=2)
            row[len(names) + i].set_title(title, fontsize=10)
            row[len(names) + i].invert_yaxis()
        row[-1].set_yticks([])
    fig.savefig(picture, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
