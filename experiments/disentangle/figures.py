"""The table of a study of inspected VAEs in Markdown, and its pictures, from run folders alone.

python experiments/disentangle/figures.py runs/disentangle
"""

import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.image import imread

from aigc.analysis.inside import grouped, table
from aigc.runs import RunDir


def pictures(groups: dict[str, list[RunDir]], kind: str, path: Path, across: int = 2) -> None:
    """One picture of each setting's first seed."""
    down = -(-len(groups) // across)
    high, wide, _ = imread(next(iter(groups.values()))[0] / "inspect" / f"{kind}.png").shape
    size = (4.6 * across, (4.6 * high / wide + 0.3) * down)
    fig, axes = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    for ax, (name, runs) in zip(axes.flat, groups.items()):
        ax.imshow(imread(runs[0] / "inspect" / f"{kind}.png"))
        ax.set_title(name, fontsize=9)
        ax.axis("off")
    fig.savefig(path, dpi=110)


def main(study: str) -> None:
    """Print the table, write the pictures beside this file."""
    here, groups = Path(__file__).parent, grouped(RunDir.below(study))
    head, *rows = table(groups)
    for row in [head, ["---"] * len(head), *rows]:
        print(f"| {' | '.join(row)} |")
    first, *_, last = groups
    pictures({k: groups[k] for k in (first, last)}, "traversal", here / "traversal.png")
    pictures(groups, "factors", here / "factors.png")
    curve = Path(study) / "inspect" / "rate_distortion.png"
    shutil.copyfile(curve, here / curve.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
