"""Table and figure of a study with and without augmentation, from its run folders alone.

python experiments/diffaugment/figures.py runs/diffaugment [diffaugment.png]
"""

import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from aigc.runs import RunDir

NAMES = {"none": "no augmentation", "DiffAugment": "DiffAugment", "ADA": "ADA"}
Values = dict[str, dict[str, list[float]]]


def kind(run: RunDir) -> str:
    """The augmentation of a run."""
    node = run.config["model"]["augment"]
    return node["_target_"].split(".")[-1] if node else "none"


def values(runs: list[RunDir]) -> Values:
    """`metric extractor` to augmentation to a value for each seed."""
    out: Values = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for row in run.rows():
            if (
                row["metric"] in ("fd", "precision", "recall", "coverage")
                and row["value"] is not None
            ):
                name = f"{row['metric']} {row['extractor'].split('@')[0]}"
                out[name][kind(run)].append(row["value"])
    return out


def table(found: Values, kinds: list[str]) -> None:
    """Markdown: mean and standard deviation over seeds."""
    print(f"| metric | {' | '.join(NAMES[k] for k in kinds)} |\n|---|{'---|' * len(kinds)}")
    for name, by in sorted(found.items()):
        cells = [f"{np.mean(by[k]):.2f} ± {np.std(by[k], ddof=1):.2f}" for k in kinds]
        print(f"| {name} | {' | '.join(cells)} |")


def gap(run: RunDir) -> pd.Series:
    """Critic's score of training pictures less that of unseen ones, by examples seen."""
    log = pd.read_csv(run / "log.csv").pivot_table(index="examples", columns="name", values="value")
    unseen = log["val/score_real"].dropna()
    return (
        log["train/score_real"].rolling(10, 1).mean().reindex(unseen.index, method="ffill") - unseen
    )


def main(folder: str, picture: str = "diffaugment.png") -> None:
    """Print the table; draw FD by seed, the critic's gap and samples."""
    runs = RunDir.below(folder)
    found, kinds = values(runs), [k for k in NAMES if any(kind(r) == k for r in runs)]
    table(found, kinds)
    fig, axes = plt.subplots(
        1, 3 + len(kinds), figsize=(3.1 * (3 + len(kinds)), 3.1), layout="constrained"
    )
    for ax, name in zip(axes, [n for n in sorted(found) if n.startswith("fd")]):
        for i, k in enumerate(kinds):
            ax.bar(i, np.mean(found[name][k]), color=f"C{i}", alpha=0.5)
            ax.plot([i] * len(found[name][k]), found[name][k], "k.", markersize=5)
        ax.set_xticks(range(len(kinds)), [NAMES[k] for k in kinds], fontsize=8, rotation=15)
        ax.set_title(f"Frechet distance, {name.split()[1]}", fontsize=9)
    for i, k in enumerate(kinds):
        curves = [gap(run) for run in runs if kind(run) == k]
        for curve in curves:
            axes[2].plot(curve.index / 1000, curve, color=f"C{i}", linewidth=1)
    axes[2].set_title("critic: training less unseen pictures", fontsize=9)
    axes[2].set_xlabel("thousand examples", fontsize=8)
    for ax, k in zip(axes[3:], kinds):
        run = next(r for r in runs if kind(r) == k)
        shown = np.asarray(Image.open(Path(run / "samples" / "preview" / "grid.png")))
        ax.imshow(shown, cmap="gray", vmin=0, vmax=255)
        ax.set_title(NAMES[k], fontsize=9)
        ax.axis("off")
    fig.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
