"""Four families on four modalities at equal examples: distance, recall, likelihood, copies."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.compare import NAMES
from aigc.analysis.figures import colour
from aigc.analysis.load import Record
from aigc.analysis.marks import INK, bars
from aigc.lab.conf import describe

FAMILIES = {name: NAMES[name] for name in ("autoregressive", "diffusion", "vae", "gan")}
METRICS = {  # title: metric, extractor, the mark that is real data's
    "Frechet distance, random features": ("fd", "randconv", "real"),
    "Frechet distance, PCA": ("fd", "pca", "real"),
    "recall, random features": ("recall", "randconv", "real"),
    "bits an element (≤ VAE, diffusion)": ("bits", "", None),
    "distance to training set (1: as unseen)": ("nn_ratio", "randconv", 1),
}


def rows_of(rows: list[dict[str, Any]], metric: str, extractor: str) -> list[float]:
    """Values of a metric in rows of results; `bits` by element or byte."""
    names = ("bits_per_dim", "bits_per_byte") if metric == "bits" else (metric,)
    return [
        row["value"]
        for row in rows
        if row["metric"] in names and row["value"] is not None
        if (row["extractor"] or "").startswith(extractor)
    ]


def measure(study: Any) -> dict[str, list[float]]:
    """`<modality>, <family>, <metric> <extractor>`, a value a seed; and the least of the ratios."""
    found: dict[str, list[float]] = {}
    kept = [(metric, extractor) for metric, extractor, _ in METRICS.values()]
    for modality, records in study.runs.items():
        for record in records:
            own = (None, describe(record.config["sampler"]))  # other studies judge by others too
            rows = [row for row in record.rows if row["sampler"] in own]
            for metric, extractor in (*kept, ("c2st", "pca"), ("train_flops", ""), ("nfe", "")):
                name = f"{modality}, {record.family}, {metric} {extractor}".strip()
                if values := rows_of(rows, metric, extractor):
                    found.setdefault(name, []).append(values[0])
    ratios = [v for name, v in found.items() if "nn_ratio" in name]
    return found | {"least ratio": min(ratios, key=lambda v: sum(v) / len(v))}


def floor(records: list[Record], metric: str, extractor: str) -> float | None:
    """What as many unseen real examples score."""
    real = [row for row in records[0].references if row["of"] == "real"]
    return next(iter(rows_of(real, metric, extractor)), None)


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A column a modality, a row a metric; dotted: unseen real data."""
    fig, axes = plt.subplots(
        len(METRICS), len(study.runs), figsize=(9, 7.5), layout="constrained", squeeze=False
    )
    for column, (modality, records) in zip(axes.T, study.runs.items()):
        column[0].set_title(f"{modality} ({records[0].dataset})")
        for ax, (title, (metric, extractor, mark)) in zip(column, METRICS.items()):
            names = {f: f"{modality}, {f}, {metric} {extractor}".strip() for f in FAMILIES}
            own = {FAMILIES[f]: found[name] for f, name in names.items() if name in found}
            bars(ax, own, [colour(f) for f, name in names.items() if name in found])
            real = floor(records, metric, extractor) if mark == "real" else mark
            if real is not None:
                ax.axvline(real, color=INK, lw=0.8, ls=":")
            ax.set_xlabel(title, fontsize=7)
            ax.tick_params(labelsize=7)
            if ax not in axes[:, 0]:
                ax.set_yticklabels([])
    return fig
