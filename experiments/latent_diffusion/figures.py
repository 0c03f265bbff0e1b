"""Real pictures above samples of each class, from a judged run's folder alone.

python experiments/latent_diffusion/figures.py RUN OUT.png
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np


def rows(file: Path, count: int) -> np.ndarray:
    """`count` rows of pictures, a column a class, where there are as many."""
    data = np.load(file)
    ids, y = data["ids"][:, 0], data["y"]
    blank = np.zeros((count, *ids.shape[1:]), ids.dtype)
    columns = [np.concatenate([ids[y == k], blank])[:count] for k in range(10)]
    cells = np.pad(np.stack(columns, 1), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=90)
    return np.concatenate([np.concatenate(list(row), 1) for row in cells])


def main(run: str, path: str) -> None:
    """Draw."""
    folder = Path(run) / "samples"
    judged = next(folder.glob("evaluated-*"))
    parts = {"real": rows(folder / "real/ids.npz", 3), "samples": rows(judged / "ids.npz", 6)}
    fig, axes = plt.subplots(2, 1, figsize=(5.2, 5), height_ratios=[3, 6], layout="constrained")
    for axis, (name, grid) in zip(axes, parts.items()):
        axis.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set(xticks=[], yticks=[], ylabel=name)
    fig.savefig(path, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
