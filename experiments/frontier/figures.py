"""Quality against diversity and against time in four modalities: a curve a family, a point a
setting of its sampler."""

from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from aigc.analysis.figures import colour
from aigc.analysis.load import Record
from aigc.analysis.marks import INK

SETTING = {
    "autoregressive": ("temperature", "autoregressive, temperature 0.5 to 1"),
    "diffusion": ("steps", "diffusion, 4 to 25 steps"),
    "vae": ("temperature", "VAE, temperature of the prior 0.5 to 1"),
    "gan": ("threshold", "GAN, latent cut at 0.5 to 3"),
}
EXTRACTOR = "randconv"


def settings(study: Any, name: str) -> list[str]:
    """The values its sampler's setting takes, as in the words of `evaluate`."""
    words = study.facts["evaluate"][name][0].split()
    return next(word for word in words if word.startswith("sampler.")).partition("=")[2].split(",")


def measure(study: Any) -> dict[str, list[float]]:
    """`<metric>, <modality>, <family>, <setting>`, a value a seed."""
    found: dict[str, list[float]] = {}
    for name, records in study.runs.items():
        for value in settings(study, name):
            words = f"{SETTING[name.partition(', ')[2]][0]}={value}"
            for metric in ("fd", "precision", "recall"):
                own = [record.value(metric, EXTRACTOR, words) for record in records]
                found[f"{metric}, {name}, {value}"] = own
            rates = [record.value("samples_per_second", "", words) for record in records]
            found[f"seconds, {name}, {value}"] = [1 / rate for rate in rates]
    return found


def real(record: Record) -> dict[str, float]:
    """What unseen real examples score."""
    rows = [row for row in record.references if row["of"] == "real"]
    return {r["metric"]: r["value"] for r in rows if (r["extractor"] or "").startswith(EXTRACTOR)}


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """Precision against recall; Frechet distance against seconds a sample. Open: the first
    setting."""
    modalities = list(dict.fromkeys(name.partition(", ")[0] for name in study.runs))
    fig, axes = plt.subplots(2, len(modalities), figsize=(10, 5), layout="constrained")
    for (top, bottom), modality in zip(axes.T, modalities):
        for ax, (x, y) in ((top, ("recall", "precision")), (bottom, ("seconds", "fd"))):
            for family, (_, label) in SETTING.items():
                name = f"{modality}, {family}"
                points = [
                    [mean(found[f"{key}, {name}, {value}"]) for key in (x, y)]
                    for value in settings(study, name)
                ]
                ax.plot(*zip(*points), "o-", ms=4, color=colour(family), label=label)
                ax.plot(*points[0], "o", ms=4, mfc="white", color=colour(family))
        floor = real(study.runs[f"{modality}, vae"][0])
        top.plot(floor["recall"], floor["precision"], "*", ms=9, color=INK, label="real data")
        bottom.axhline(floor["fd"], color=INK, lw=0.8, ls=":")
        top.set(title=modality, xlabel="recall", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        bottom.set(xscale="log", yscale="log", xlabel="seconds a sample")
        for axis in (bottom.xaxis, bottom.yaxis):
            axis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("precision")
    axes[1, 0].set_ylabel("Frechet distance")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
