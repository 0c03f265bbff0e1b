"""The figure of `aigc robustness`, from the tables in run folders."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.compare import NAMES
from aigc.analysis.figures import INK, MARKERS, colour, style
from aigc.analysis.recipe import differences
from aigc.runs import RunDir

STYLES = ("-", "--", ":", "-.")


def draw(runs: list[RunDir], path: Path) -> Path:
    """One row of panels a family (losses of two families have two units), one panel a change, one
    line a run; the values of runs that differ in the seed alone are not averaged."""
    families: dict[str, list[RunDir]] = defaultdict(list)
    for run in runs:
        families[run.config["model"]["name"]].append(run)
    tables = {str(run): run.rows("robustness.jsonl") for run in runs}
    columns = list(dict.fromkeys(row["change"] for rows in tables.values() for row in rows))
    with style(INK["light"]):
        size = (1.9 * len(columns) + 0.6, 1.75 * len(families) + 0.5)
        grid = {"squeeze": False, "sharey": "row", "layout": "constrained"}
        figure, axes = plt.subplots(len(families), len(columns), figsize=size, **grid)
        for line, (family, own) in zip(axes, families.items()):
            told = differences([run.config for run in own], [""] * len(own))
            for ax, change in zip(line, columns):
                for i, (run, name) in enumerate(zip(own, told)):
                    _line(ax, [r for r in tables[str(run)] if r["change"] == change], i, name)
            rows = tables[str(own[0])]
            unit = "minus critic's score" if rows[0]["score"] == "critic" else "loss"
            line[0].set_ylabel(f"{NAMES.get(family, family)}\n{unit}")
            if len(own) > 1:
                line[0].legend(fontsize=6, handlelength=1.5)
        for ax, change in zip(axes[0], columns):
            ax.set_title(change)
        for ax, change in zip(axes[-1], columns):
            ax.set_xlabel(_unit(change, tables))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, facecolor="white")
        plt.close(figure)
    return path


def _line(ax: Any, rows: list[dict[str, Any]], i: int, label: str) -> None:
    """Value against size; a change that this run's modality does not know leaves no line."""
    if not rows:
        ax.set_visible(False)
        return
    family = rows[0]["family"]
    x, y = [row["size"] for row in rows], [row["value"] for row in rows]
    look = {"color": colour(family), "marker": MARKERS.get(family, "o"), "markersize": 3}
    ax.plot(x, y, linestyle=STYLES[i % len(STYLES)], alpha=1 - 0.5 * (i // 4 % 2), **look,
            label=label or None)  # fmt: skip
    ax.tick_params(labelsize=7)


def _unit(change: str, tables: dict[str, list[dict[str, Any]]]) -> str:
    kinds = {row["kind"] for rows in tables.values() for row in rows if row["change"] == change}
    return "strength" if kinds == {"corruption"} else "eps"
