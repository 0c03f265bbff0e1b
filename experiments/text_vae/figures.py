"""What the latent of a text VAE carries through training (Bowman et al. 2016)."""

from math import log
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis.figures import colour

SHADES = {"plain": "#9bd4c2", "dropout and free bits": colour("vae")}


def curve(record: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Examples seen and nats of a text."""
    seen, _, values = np.array(record.log()[name]).T
    return seen, values * np.prod(record.dir.status["space"]["shape"])


def measure(study: Any) -> dict[str, float]:
    """At the end of training: KL of a text, active units, bits a byte of validation text."""
    found = {}
    for name, (record,) in study.runs.items():
        found[f"KL, {name}"] = float(curve(record, "train/kl")[1][-1])
        share = record.log()["train/active_units"][-1][2]
        found[f"active units, {name}"] = share * record.config["model"]["latent"]
        found[f"bits, {name}"] = record.log()["val/loss"][-1][2] / log(2)
    return found


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """KL against examples seen."""
    fig, ax = plt.subplots(figsize=(5.6, 3), layout="constrained")
    for name, (record,) in study.runs.items():
        label = f"{name}: {found[f'active units, {name}']:.0f} of 16 active"
        ax.plot(*curve(record, "train/kl"), color=SHADES[name], label=label)
    ax.set(xlabel="examples seen", ylabel="KL of a text (nats)", yscale="log")
    ax.legend()
    return fig
