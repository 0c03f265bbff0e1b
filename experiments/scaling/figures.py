"""Validation loss against parameters at equal data (Kaplan et al. 2020, figure 1)."""

from math import log
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis.figures import COLOURS

SHADES = {
    "autoregressive": COLOURS["autoregressive"],
    "masked": COLOURS["masked_diffusion"],
}
POINTS: dict[str, tuple[list[float], list[float]]] = {}


def measure(study: Any) -> dict[str, float]:
    """Bits a byte by family and width, and the slope and r of a line through the logs."""
    found = {}
    for name, records in study.runs.items():
        sizes = [record.dir.status["parameters"] for record in records]
        bits = [record.log()["val/loss"][-1][2] / log(2) for record in records]
        POINTS[name] = sizes, bits
        role = "causal_lm" if name == "autoregressive" else "token_denoiser"
        for record, value in zip(records, bits):
            found[f"{name} {record.config['net'][role]['width']}"] = value
        found[f"slope, {name}"] = float(np.polyfit(np.log(sizes), np.log(bits), 1)[0])
        found[f"r, {name}"] = float(np.corrcoef(np.log(sizes), np.log(bits))[0, 1])
    return found


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """A line a family."""
    fig, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for name, (sizes, bits) in POINTS.items():
        label = f"{name}: slope {found[f'slope, {name}']:.3f}"
        ax.loglog(sizes, bits, "o-", ms=4, color=SHADES[name], label=label)
    low, high = ax.get_ylim()
    ticks = [t for t in (2, 2.5, 3, 3.5, 4, 5, 6, 8) if low < t < high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="parameters", ylabel="bits a byte of validation text")
    ax.legend()
    return fig
