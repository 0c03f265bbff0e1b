"""Quality against diversity and against time, a curve a family and a point a sampler's setting."""

from collections.abc import Iterator
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.figures import colour
from aigc.analysis.marks import INK

SETTING = {"autoregressive": "temperature", "diffusion": "steps", "vae": "temperature"}
SETTING |= {"gan": "threshold"}
NAMES = {"autoregressive": "autoregressive, temperature", "diffusion": "diffusion, steps"}
NAMES |= {"vae": "VAE, temperature of the prior", "gan": "GAN, truncation"}


def settings(study: Any, family: str) -> list[str]:
    """The values its sampler's setting takes, as in the words of `evaluate`."""
    return study.facts["evaluate"][family][0].rpartition("=")[2].split(",")


def measure(study: Any) -> dict[str, list[float]]:
    """`<metric>, <family>, <setting>`, a value a seed; distances on random features."""
    found: dict[str, list[float]] = {}
    for family, records in study.runs.items():
        for value in settings(study, family):
            words = f"{SETTING[family]}={value}"
            for metric in ("fd", "precision", "recall", "nn_ratio"):
                own = [record.value(metric, "randconv", words) for record in records]
                found[f"{metric}, {family}, {value}"] = own
            rates = [record.value("samples_per_second", "", words) for record in records]
            found[f"seconds, {family}, {value}"] = [1 / rate for rate in rates]
    return found


def curves(
    study: Any, found: dict[str, list[float]]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Family, setting and the means of each measure there."""
    for family in study.runs:
        for value in settings(study, family):
            keys = ("fd", "precision", "recall", "seconds")
            yield family, value, {key: mean(found[f"{key}, {family}, {value}"]) for key in keys}


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """Precision against recall; Frechet distance against seconds a sample."""
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.9), layout="constrained")
    points = list(curves(study, found))
    for ax, (x, y) in zip(axes, (("recall", "precision"), ("seconds", "fd"))):
        for family in study.runs:
            own = [(value, at) for name, value, at in points if name == family]
            xs, ys = [at[x] for _, at in own], [at[y] for _, at in own]
            ax.plot(xs, ys, "o-", ms=4, color=colour(family), label=NAMES[family])
            for value, a, b in zip((own[0][0], own[-1][0]), xs[:: len(xs) - 1], ys[:: len(ys) - 1]):
                ax.annotate(value, (a, b), (4, 4), textcoords="offset points", fontsize=7)
    real = {
        row["metric"]: row["value"]
        for row in next(iter(study.runs.values()))[0].references
        if row["of"] == "real" and (row["extractor"] or "").startswith("randconv")
    }
    axes[0].plot(real["recall"], real["precision"], "*", ms=9, color=INK)
    axes[0].annotate(
        "real", (real["recall"], real["precision"]), (6, -9), textcoords="offset points"
    )
    axes[1].axhline(real["fd"], color=INK, lw=0.8, ls=":")
    axes[0].set(xlabel="recall", ylabel="precision")
    axes[1].set(xscale="log", yscale="log", xlabel="seconds a sample", ylabel="Frechet distance")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
