"""Frechet distance of one diffusion model by steps and eta (DDIM, table 1)."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.marks import line

STEPS = (5, 10, 50)
ETAS = {"0.0": "#D55E00", "1.0": "#8c5a2b"}


def measure(study: Any) -> dict[str, list[float]]:
    """FD on random features, a value a seed."""
    return {
        f"{steps} steps, eta {eta}": [
            record.value("fd", "randconv", f"ddim steps={steps} eta={eta}")
            for record in study.runs["model"]
        ]
        for steps in STEPS
        for eta in ETAS
    }


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A line an eta."""
    fig, ax = plt.subplots(figsize=(4.8, 3.2), layout="constrained")
    for eta, shade in ETAS.items():
        values = [found[f"{steps} steps, eta {eta}"] for steps in STEPS]
        line(ax, STEPS, values, color=shade, label=f"eta = {eta}")
    ax.set(xscale="log", xlabel="steps", ylabel="Frechet distance (randconv)", ylim=(0, None))
    ax.set_xticks(STEPS, [str(steps) for steps in STEPS])
    ax.minorticks_off()
    ax.legend()
    return fig
