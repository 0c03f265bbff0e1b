"""Table and picture of two-stage runs on pictures, beside runs of one stage.

python experiments/latent_diffusion/figures.py OUT.png RUN [MORE_RUNS ...]
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.svm import SVC

import aigc
from aigc.core.learned import LEARNED
from aigc.lab.run import Run


def flat(ids: torch.Tensor) -> np.ndarray:
    """Pictures as rows of numbers in [0, 1]."""
    return ids.flatten(1).numpy() / 255


def reconstructed(run: Run, ids: torch.Tensor) -> torch.Tensor:
    """Through the first stage and back."""
    view = run.model.view
    return torch.cat([view.decode(view.encode(part)) for part in ids.split(100)])


def table(runs: list[Run]) -> None:
    """A line a run: sizes, FD, error of the first stage, samples that show what was asked for."""
    ids, y = runs[0].store.examples("train", 5000)
    judge = SVC(C=10).fit(flat(ids), y)
    ids, y = runs[0].store.examples("test", 1000)
    print(f"classifier on test data: {judge.score(flat(ids), y):.3f}")
    for run in runs:
        fd = {
            r["extractor"][:4]: f"{r['value']:.2f}" for r in run.dir.rows() if r["metric"] == "fd"
        }
        parameters, error = run.dir.status["parameters"], "-"
        if run.config["view"] in LEARNED:
            parameters += sum(p.numel() for p in run.model.view.model.parameters())
            error = f"{(reconstructed(run, ids) - ids).double().square().mean().sqrt():.1f}"
        samples = run.sample(500, seed=1)
        asked = judge.score(flat(samples.ids), samples.y)
        print(run.dir.path.name, f"{parameters:,}", fd, f"rmse {error}  as asked {asked:.3f}")


def picture(run: Run, path: str) -> None:
    """A column a class: real pictures, their reconstructions, samples of the class."""
    ids, y = run.store.examples("test", 500)
    first = torch.tensor([(y == k).nonzero()[i, 0] for i in range(2) for k in range(10)])
    drawn = run.sample(50, seed=0, y=torch.arange(50) % 10).ids
    parts = {"real": ids[first], "first stage": reconstructed(run, ids[first]), "samples": drawn}
    rows = [len(part) // 10 for part in parts.values()]
    fig, axes = plt.subplots(
        3, 1, figsize=(5.2, 0.52 * sum(rows) + 0.3), height_ratios=rows, layout="constrained"
    )
    for axis, (name, part) in zip(axes, parts.items()):
        cells = np.pad(part[:, 0].numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=90)
        grid = [np.concatenate(list(cells[i : i + 10]), 1) for i in range(0, len(cells), 10)]
        axis.imshow(np.concatenate(grid), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set(xticks=[], yticks=[], ylabel=name)
    fig.savefig(path, dpi=110)


if __name__ == "__main__":
    opened = [aigc.load(path) for path in sys.argv[2:]]
    table(opened)
    picture(opened[0], sys.argv[1])
