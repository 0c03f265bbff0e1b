"""Test likelihood by the number of latents of the bound in training (Burda et al. 2016)."""

from math import log
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis.figures import colour
from aigc.analysis.marks import line


def measure(study: Any) -> dict[str, list[float]]:
    """Nats of a test digit by importance weighting, a value a seed."""
    found = {}
    for k, records in study.runs.items():
        nats = log(2) * np.prod(records[0].dir.status["space"]["shape"])
        found[f"k = {k}"] = [float(nats * record.value("bits_per_dim")) for record in records]
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """Nats against k."""
    fig, ax = plt.subplots(figsize=(4.6, 3), layout="constrained")
    line(ax, [int(k) for k in study.runs], list(found.values()), color=colour("vae"))
    ax.set(xscale="log", xlabel="latents of the bound in training, k")
    ax.set_xticks([int(k) for k in study.runs], list(study.runs))
    ax.minorticks_off()
    ax.set_ylabel("nats of a test digit")
    return fig
