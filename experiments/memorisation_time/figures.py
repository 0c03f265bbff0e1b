"""Distance of samples to the training set, over that of unseen digits, by training time and size
of the set (Bonnaire et al. 2025, figure 2)."""

from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.marks import INK


def measure(study: Any) -> dict[str, float]:
    """`<size> at <1, 2, 3>`: the ratio at the three budgets; 0 means copies, 1 none."""
    return {
        f"{size} at {i}": record.value("nn_ratio", "pca")
        for size, records in study.runs.items()
        for i, record in enumerate(records, 1)
    }


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """A line a size."""
    fig, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for (size, records), shade in zip(study.runs.items(), ("#7a2f00", "#D55E00", "#f2b48a")):
        seen = [record.config["budget"]["examples"] for record in records]
        ratios = [found[f"{size} at {i}"] for i in range(1, len(seen) + 1)]
        ax.plot(seen, ratios, "o-", ms=4, color=shade, label=f"{size} digits")
    ax.axhline(1, color=INK, lw=0.8, ls=":")
    ax.set(xscale="log", xlabel="examples seen", ylim=(0, None))
    ax.set_xticks(seen, [f"{n:,}" for n in seen])
    ax.minorticks_off()
    ax.set_ylabel("distance to the training set\n(1: as unseen digits)")
    ax.legend()
    return fig
