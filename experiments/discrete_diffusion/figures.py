"""Bits a byte of three families of text models, beside the entropy rate of the law."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.figures import COLOURS
from aigc.analysis.marks import INK, bars


def measure(study: Any) -> dict[str, Any]:
    """Bits a byte of test text, a value a seed."""
    found = {name: [r.value("bits_per_byte") for r in rs] for name, rs in study.runs.items()}
    truth = study.runs["masked"][0].dir.status["data"]["truth"]["entropy_rate"]
    return found | {"entropy rate": truth, "least bits": min(map(min, found.values()))}


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """A line a family."""
    fig, ax = plt.subplots(figsize=(5.4, 2), layout="constrained")
    shades = [COLOURS[n] for n in ("autoregressive", "masked_diffusion", "uniform_diffusion")]
    bars(ax, {name: found[name] for name in study.runs}, shades, zero=False)
    ax.axvline(found["entropy rate"], color=INK, ls=":", label="entropy rate")
    ax.set_xlabel("bits a byte of test text (bounds for diffusion)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return fig
