"""What one pays with for what: a line of the table is a point, and lines that differ in the sampler
alone are joined to a curve."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt

from aigc.analysis.compare import Column, Line, Table
from aigc.analysis.figures import MARKERS, colour

NAMED = 12  # lines that a legend names
Place = Callable[[Line], tuple[float, float, float | None] | None]


def frontier(table: Table) -> Any | None:
    """Recall against precision of the first extractor, then Frechet distance against seconds a
    sample of each; None where there is neither."""
    panels = _quality_diversity(table) + _quality_cost(table)
    if not panels:
        return None
    width = max(3.6 * len(panels), 5)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(width, 3.6), squeeze=False, layout="constrained"
    )
    for axis, (draw, title, labels) in zip(axes[0], panels):
        draw(axis)
        axis.set(title=title, xlabel=labels[0], ylabel=labels[1])
        axis.margins(0.15)
    named: dict[str, Any] = {}
    for axis in axes[0]:
        named |= dict(zip(*reversed(axis.get_legend_handles_labels())))
    named = dict(list(named.items())[:NAMED])
    columns = min(len(named), 4)
    figure.legend(named.values(), named, loc="outside lower center", ncols=columns, fontsize=8)
    return figure


def _quality_diversity(table: Table) -> list[tuple]:
    precision, recall = (_first(table, name) for name in ("precision", "recall"))
    if not (precision and recall):
        return []

    def place(line: Line):
        if precision in line.cells and recall in line.cells:
            return line.cells[recall].value, line.cells[precision].value, None
        return None

    def draw(axis: Any) -> None:
        for line in table.references:
            if (at := place(line)) and line.family != "copies":
                axis.plot(*at[:2], "+", color="#888888", ms=7)
                axis.annotate(line.name.split(" (")[0], at[:2], fontsize=7, color="#888888",
                              textcoords="offset points", xytext=(5, -3))  # fmt: skip
        _curves(axis, table.models, place)

    return [(draw, precision.extractor.split("@")[0], ("recall", "precision"))]


def _quality_cost(table: Table) -> list[tuple]:
    speed, panels = _first(table, "samples_per_second"), []
    for column in (c for c in table.columns if speed and c.metric == "fd"):

        def draw(axis: Any, column: Column = column) -> None:
            def place(line: Line):
                if column in line.cells and speed in line.cells:
                    cell = line.cells[column]
                    return 1 / line.cells[speed].value, cell.value, cell.half
                return None

            for line, dash in zip(table.references, (":", "--", "-.")):
                if column in line.cells and line.family != "copies":
                    y = line.cells[column].value
                    axis.axhline(y, color="#888888", lw=0.9, ls=dash, label=line.name)
            _curves(axis, table.models, place)
            axis.set(xscale="log", yscale="log")

        title = column.extractor.split("@")[0]
        panels.append((draw, title, ("seconds a sample", "Fréchet distance")))
    return panels


def _curves(axis: Any, lines: list[Line], place: Place) -> None:
    groups: dict[tuple, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.family, line.recipe].append(line)
    for (family, _), group in groups.items():
        points = [(at, line) for line in group if (at := place(line))]
        points.sort(key=lambda point: point[0][:2])
        look = {"color": colour(family), "marker": MARKERS.get(family, "x")}
        for (x, y, half), line in points:
            label = line.name if len(points) > 1 else line.title
            axis.errorbar(x, y, yerr=half, capsize=2, ls="none", label=label, ms=5, **look)
        if len(points) > 1:
            axis.plot(*zip(*(at[:2] for at, _ in points)), color=colour(family), lw=1)


def _first(table: Table, metric: str) -> Column | None:
    return next((c for c in table.columns if c.metric == metric), None)
