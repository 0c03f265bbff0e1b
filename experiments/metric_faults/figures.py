"""Kendall's tau of each metric against the strength of a fault, from `results/*.json`.

    python experiments/metric_faults/figures.py

Draws `taus.png` and prints the range of each metric over modalities and extractors. Tau is 1 where
more of the fault is always worse by the metric, 0 where it is not seen, below 0 where it deceives.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import kendalltau

HERE = Path(__file__).parent
MODALITIES = ("image", "text", "audio", "tabular")
FAULTS = ("noise", "blur", "dropped", "duplicates", "copies")
AXES = ("fidelity", "diversity", "memorisation")


def tau(row: dict, strengths: list[float]) -> float:
    """Mean over seeds of the rank correlation of badness with strength; 0 for a constant."""
    sign = {"low": 1, "high": -1}
    found = []
    for values in row["values"]:
        pairs = [(s, v) for s, v in zip(strengths, values) if v is not None]
        bad = [sign[row["better"]] * v if row["better"] in sign else abs(v - row["target"])
               for _, v in pairs]  # fmt: skip
        t = kendalltau([s for s, _ in pairs], np.round(bad, 9)).statistic if len(pairs) > 2 else 0
        found.append(0.0 if np.isnan(t) else t)
    return mean(found)


def main() -> None:
    """Draw the heat map, one panel a modality, and print the table."""
    table: dict[str, dict[tuple, dict[str, float]]] = {}
    for modality in MODALITIES:
        loaded = json.loads((HERE / "results" / f"{modality}.json").read_text())
        rows = sorted(loaded["tries"], key=lambda r: (AXES.index(r["axis"]), r["metric"]))
        taus = defaultdict(dict)
        for row in rows:
            name = (row["extractor"] or "").rstrip("0123456789%").rstrip("0123456789-")
            taus[row["metric"], name][row["fault"]] = tau(row, loaded["facts"]["strengths"])
        table[modality] = dict(taus)
    draw(table)
    print("| metric | " + " | ".join(FAULTS) + " |\n|---|" + "---|" * len(FAULTS))
    for metric in dict.fromkeys(name for taus in table.values() for name, _ in taus):
        cells = []
        for fault in FAULTS:
            own = [t[fault] for taus in table.values() for (m, _), t in taus.items() if m == metric]
            low, high = min(own), max(own)
            cells.append(f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}")
        print(f"| {metric} | {' | '.join(cells)} |")


def draw(table: dict) -> None:
    """Blue where more is worse, red where more is better."""
    tall = max(len(taus) for taus in table.values())
    figure, axes = plt.subplots(1, 4, figsize=(15, 0.155 * tall + 1), layout="constrained")
    for axis, (modality, taus) in zip(axes, table.items()):
        values = np.array([[t[fault] for fault in FAULTS] for t in taus.values()])
        image = axis.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(len(FAULTS)), FAULTS, rotation=30, ha="left", fontsize=8)
        axis.xaxis.tick_top()
        axis.set_yticks(range(len(taus)), [" ".join(key) for key in taus], fontsize=7)
        axis.set_xlabel(modality, fontweight="bold")
        axis.xaxis.set_label_position("top")
        axis.set_ylim(tall - 0.5, -0.5)
        axis.spines[:].set_visible(False)
        for i, j in np.ndindex(values.shape):
            ink = "white" if abs(values[i, j]) > 0.65 else "black"
            text = f"{values[i, j]:.2f}".replace("0.", ".").replace("1.00", "1")
            axis.text(j, i, text, ha="center", va="center", fontsize=6, color=ink)
    figure.colorbar(image, ax=axes, shrink=0.4, label="Kendall tau of badness with strength")
    figure.savefig(HERE / "taus.png", dpi=110)


if __name__ == "__main__":
    main()
