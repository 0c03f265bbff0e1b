"""GANs of spoken digits by their inception scores, and the Frechet distance of distorted ones."""

from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.signal import butter, sosfilt

import aigc
from aigc.analysis.figures import colour
from aigc.analysis.marks import INK, bars
from aigc.lab.judge import Judge
from aigc.metrics.distance import frechet

SHADES = ("#e3b3cd", colour("gan"), "#7b3b62")
STRENGTHS = {  # of each distortion, with its unit
    "white noise": ((40, 30, 20, 10, 0), "dB"),
    "low pass": ((1600, 1200, 800, 400, 200), "Hz"),
    "clipping": ((0.5, 0.25, 0.1, 0.05, 0.02), "of peak"),
    "fewer bits": ((6, 5, 4, 3, 2), "bits"),
}
FD: dict[tuple[str, str], list[float]] = {}
SHOWN: dict[str, np.ndarray] = {}


def distorted(waves: torch.Tensor, kind: str, strength: float, rate: int) -> torch.Tensor:
    """Waveforms `(n, T)` with noise `strength` dB below them, cut above `strength` Hz, clipped at
    that share of their peak and made as loud again, or rounded to so many bits."""
    peak = waves.abs().amax(1, keepdim=True).clamp(min=1e-5)
    if kind == "white noise":
        power = waves.square().mean(1, keepdim=True) * 10 ** (-strength / 10)
        noise = torch.randn(waves.shape, generator=torch.Generator().manual_seed(0))
        return waves + power.sqrt() * noise
    if kind == "low pass":
        sections = butter(8, strength, fs=rate, output="sos")
        return torch.from_numpy(sosfilt(sections, waves.numpy())).float()
    if kind == "clipping":
        return (waves / (peak * strength)).clamp(-1, 1) * peak
    return (waves * 2 ** (strength - 1)).round() / 2 ** (strength - 1)


def measure(study: Any) -> dict[str, Any]:
    """Scores of each model and of recordings, and the least step of FD with each distortion."""
    found = {}
    for name, records in study.runs.items():
        found[f"nearest, {name}"] = [r.value("nn_ratio", "randconv") for r in records]
        found[f"inception, {name}"] = [r.value("inception_score") for r in records]
        rows = [row for row in records[0].references if row["metric"] == "inception_score"]
        found["inception, recordings"] = next(r["value"] for r in rows if r["of"] == "real")
        run = aigc.load(records[0].dir.path)
        SHOWN[name] = run.codec.pictures(run.sample(4, 0).ids)
    judge, codec = Judge(run.store, 300, ["randconv", "pca"], names=["fd"]), run.codec
    unseen, _ = run.store.examples("validation", 300)
    SHOWN["recordings"] = codec.pictures(unseen[:4])
    for kind, (strengths, _) in STRENGTHS.items():
        clean = codec.waves(unseen)
        for wave in [clean, *(distorted(clean, kind, s, codec.rate) for s in strengths)]:
            for name, evidence in judge.evidence(codec.quantize(wave)).items():
                values = FD.setdefault((kind, name.split("@")[0].rstrip("0123456789")), [])
                values.append(frechet(evidence.ref, evidence.gen))
        growth = [b / a for (k, _), fd in FD.items() if k == kind for a, b in pairwise(fd)]
        found[f"least growth, {kind}"] = min(growth)
    return found


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """Scores, distances by strength of a distortion, and sounds."""
    fig = plt.figure(figsize=(10, 6), layout="constrained")
    top, bottom = fig.subfigures(2, 1)
    axes = top.subplots(1, 4, sharey=True)
    for ax, (kind, (strengths, unit)) in zip(axes, STRENGTHS.items()):
        for extractor, shade in (("randconv", "#0072B2"), ("pca", "#E69F00")):
            ax.plot(FD[kind, extractor], "o-", ms=4, color=shade, label=extractor)
        ax.set_xticks(range(len(strengths) + 1), ["none", *(f"{s:g}" for s in strengths)])
        ax.set(title=kind, xlabel=unit, yscale="log")
    axes[0].set_ylabel("Frechet distance")
    axes[0].legend()
    left, right = bottom.subfigures(1, 2, width_ratios=[1, 1.2])
    ax = left.subplots()
    bars(ax, {name: found[f"inception, {name}"] for name in study.runs}, SHADES)
    ax.axvline(found["inception, recordings"], color=INK, lw=0.8, ls=":", label="recordings")
    ax.set(xlabel="inception score", xlim=(1, None))
    ax.legend()
    for row, (name, pictures) in zip(right.subplots(len(SHOWN), 1), SHOWN.items()):
        row.imshow(np.hstack(list(pictures)), aspect="auto")
        row.set(xticks=[], yticks=[])
        row.set_ylabel(name.replace(", ", ",\n"), rotation=0, ha="right", va="center")
    return fig
