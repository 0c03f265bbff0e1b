"""Test likelihood by the number of latents of the bound in training (Burda et al. 2016)."""

from math import log
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars


def measure(study: Any) -> dict[str, list[float]]:
    """Nats of a test digit by importance weighting, a value a seed."""
    found = {}
    for k, records in study.runs.items():
        nats = log(2) * np.prod(records[0].dir.status["space"]["shape"])
        found[f"k = {k}"] = [float(nats * record.value("bits_per_dim")) for record in records]
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A bar a bound."""
    fig, ax = plt.subplots(figsize=(5.4, 1.9), layout="constrained")
    bars(ax, found, colour("vae"))
    values = np.concatenate(list(found.values()))
    ax.set_xlim(values.min() - 1, values.max() + 1)
    ax.set_xlabel("nats of a test digit, by importance weighting")
    return fig
