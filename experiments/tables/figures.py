"""What generated rows are worth to boosted trees, and how near they are to training rows
(Kotelnikov et al. 2023, tables 4 to 6)."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.figures import colour
from aigc.analysis.load import Record
from aigc.analysis.marks import INK, bars

METRICS = {"tstr": "", "nn_ratio": "pca", "pair_trends": ""}
TITLES = {
    "tstr": "worth to trees (accuracy)",
    "nn_ratio": "distance to training rows",
    "pair_trends": "pairs of columns",
}
NAMES = ("autoregressive", "diffusion", "VAE", "GAN", "SMOTE", "real")


def reference(record: Record, of: str, metric: str) -> float:
    """A reference row's value."""
    return next(
        row["value"]
        for row in record.references
        if row["of"] == of and row["metric"] == metric
        if (row["extractor"] or "").startswith(METRICS[metric])
    )


def measure(study: Any) -> dict[str, Any]:
    """`<metric>, <data>, <family>`, a value a seed, and those of SMOTE and of unseen real rows."""
    found: dict[str, Any] = {}
    for name, records in study.runs.items():
        data = name.partition(", ")[0]
        for metric, extractor in METRICS.items():
            found[f"{metric}, {name}"] = [r.value(metric, extractor) for r in records]
            for of, label in (("smote", "SMOTE"), ("real", "real")):
                found[f"{metric}, {data}, {label}"] = reference(records[0], of, metric)
    return found


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """A row a table, a column a metric; dotted: unseen real rows."""
    tables = dict.fromkeys(name.partition(", ")[0] for name in study.runs)
    fig, axes = plt.subplots(len(tables), 3, figsize=(9, 4), layout="constrained", sharey=True)
    for line, data in zip(axes, tables):
        for ax, metric in zip(line, METRICS):
            own = {name: found[f"{metric}, {data}, {name}"] for name in NAMES[:-1]}
            own["SMOTE"] = [own["SMOTE"]]
            bars(ax, own, [colour(name.lower()) for name in own])
            ax.axvline(found[f"{metric}, {data}, real"], color=INK, lw=0.8, ls=":")
            ax.set_title(f"{data}: {TITLES[metric]}", fontsize=8)
    return fig
