"""What guidance does to fidelity and diversity (Ho & Salimans 2022, figure 4)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from aigc.analysis.figures import colour
from aigc.analysis.marks import line
from aigc.runs import shown_folder

SCALES = ("1.0", "1.5", "3.0", "6.0")


def accuracy(record: Any, scale: str) -> float:
    """How often a support vector machine, trained on all real digits, sees the label asked for."""
    real = load_digits()
    classifier = SVC(C=10, gamma=0.001).fit(real.data, real.target)
    sampler = next(r["sampler"] for r in record.rows if f"guidance={scale}" in r["sampler"].split())
    folder = next((record.dir / "samples").glob(f"{shown_folder(sampler, 0)}-*"))
    drawn = np.load(folder / "ids.npz")
    return float(classifier.score(drawn["ids"].reshape(len(drawn["ids"]), -1), drawn["y"]))


def measure(study: Any) -> dict[str, list[float]]:
    """Accuracy, FD, precision and recall by strength, a value a seed."""
    found = {}
    for scale in SCALES:
        found[f"accuracy, guidance {scale}"] = [accuracy(r, scale) for r in study.runs["model"]]
        for metric in ("fd", "precision", "recall"):
            found[f"{metric}, guidance {scale}"] = [
                record.value(metric, "randconv", f"guidance={scale}")
                for record in study.runs["model"]
            ]
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A panel a measure, 95 % intervals over seeds."""
    fig, axes = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
    titles = {"accuracy": "label as asked", "fd": "Frechet distance (randconv)"}
    for ax, metric in zip(axes, ("accuracy", "precision", "recall", "fd")):
        x = range(len(SCALES))
        values = [found[f"{metric}, guidance {scale}"] for scale in SCALES]
        line(ax, x, values, color=colour("diffusion"))
        ax.set_xticks(x, SCALES)
        ax.set(title=titles.get(metric, metric), xlabel="strength of guidance")
    return fig
