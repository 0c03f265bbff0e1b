"""Figures of a comparison: one colour a family, the same in every figure of the project."""

import base64
import io
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import matplotlib

# A notebook, and whoever draws already, has a way to show figures; others save them.
if not {"ipykernel", "matplotlib.pyplot"} & sys.modules.keys():
    matplotlib.use("Agg")
import matplotlib.pyplot as plt

from aigc.analysis.compare import NAMES, ORDER, Column, Table

# Okabe & Ito's palette, told apart with any colour vision.
COLOURS = {
    "autoregressive": "#0072B2",
    "diffusion": "#D55E00",
    "masked_diffusion": "#E69F00",
    "uniform_diffusion": "#56B4E9",
    "vae": "#009E73",
    "gan": "#CC79A7",
}
MARKERS = {
    "autoregressive": "o",
    "diffusion": "s",
    "masked_diffusion": "v",
    "uniform_diffusion": "P",
    "vae": "^",
    "gan": "D",
}
INK = {"light": "#24292f", "dark": "#d7dde4"}


@contextmanager
def style(ink: str):
    """Thin axes in one ink on a transparent ground."""
    with plt.rc_context(
        {
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": ink,
            "axes.labelcolor": ink,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "text.color": ink,
            "xtick.color": ink,
            "ytick.color": ink,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "svg.fonttype": "none",
            "legend.frameon": False,
        }
    ):
        yield


def colour(family: str) -> str:
    """The family's colour; grey for one that is not ours."""
    return COLOURS.get(family, "#777777")


def both_inks(draw: Callable[[], Any]) -> dict[str, str] | None:
    """A figure as SVG data addresses for a light and a dark page; None where there is none."""
    out = {}
    for theme, ink in INK.items():
        with style(ink):
            if (figure := draw()) is None:
                return None
            buffer = io.BytesIO()
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
            plt.close(figure)
        data = base64.b64encode(buffer.getvalue()).decode()
        out[theme] = f"data:image/svg+xml;base64,{data}"
    return out


def learning_curves(table: Table) -> Any:
    """Training and validation objective of each family, by examples seen and by seconds.

    Objectives differ between families (nats, squared error, scores), so each has its own axis.
    """
    lines = {line.family: line.records[0] for line in reversed(table.models)}
    families = [f for f in ORDER if f in lines] + [f for f in lines if f not in ORDER]
    figure, axes = plt.subplots(
        2, len(families), figsize=(2.5 * len(families), 4.2), squeeze=False, layout="constrained"
    )
    for column, family in enumerate(families):
        curves = lines[family].log()
        for row, (position, unit) in enumerate(((0, "examples seen"), (1, "seconds of training"))):
            axis = axes[row][column]
            for name, points in _shown(curves).items():
                x, y = [p[position] for p in points], [p[2] for p in points]
                axis.plot(x, y, label=name, **_stroke(name, family))
            axis.set_xlabel(unit)
            axis.margins(x=0.02)
            _clip(axis, curves)
            if row == 0:
                axis.set_title(NAMES.get(family, family))
                axis.legend(fontsize=7, loc="upper right")
    axes[0][0].set_ylabel("objective")
    axes[1][0].set_ylabel("objective")
    return figure


def summary(table: Table, walls: list[tuple[str, Any]]) -> Any:
    """One picture of the comparison: sample walls above, quality against cost below."""
    from matplotlib.gridspec import GridSpec

    figure = plt.figure(figsize=(2.6 * max(len(walls), 3), 6.0 if walls else 3.4))
    grid = GridSpec(2, 1, figure, height_ratios=[1, 1.1] if walls else [0.01, 1], hspace=0.25)
    if walls:
        top = grid[0].subgridspec(1, len(walls), wspace=0.05)
        for i, (title, picture) in enumerate(walls):
            axis = figure.add_subplot(top[i])
            axis.imshow(picture, cmap="gray", interpolation="nearest")
            axis.set_title(title)
            axis.axis("off")
    shown = ("fd", "coverage", "precision", "recall", "tail_coverage", "tail_recall")
    bars = [c for c in table.columns if c.metric in shown]
    axis = figure.add_subplot(grid[1])
    _bars(axis, table, [c for c in bars if c.extractor == bars[0].extractor] if bars else [])
    return figure


def _bars(axis: Any, table: Table, columns: list[Column]) -> None:
    """Each metric of one extractor as a group of bars."""
    width = 0.8 / max(len(table.models), 1)
    for i, line in enumerate(table.models):
        x = [k + i * width for k in range(len(columns))]
        cells = [line.cells.get(c) for c in columns]
        axis.bar(
            x,
            [cell.value if cell else 0 for cell in cells],
            width * 0.9,
            yerr=[cell.half or 0 if cell else 0 for cell in cells],
            color=colour(line.family),
            label=f"{line.name} ({line.short})",
            error_kw={"lw": 0.8},
        )
    floor = next((line for line in table.references if line.family == "real"), None)
    for k, column in enumerate(columns):
        if floor and column in floor.cells:
            y = floor.cells[column].value
            axis.hlines(y, k - width * 0.6, k + 0.8 - width * 0.4, color="#777777", ls=":", lw=1.2)
    axis.set_xticks([k + 0.4 - width / 2 for k in range(len(columns))])
    axis.set_xticklabels([c.title for c in columns])
    axis.set_title(f"{table.dataset}: dotted lines are unseen real data")
    axis.legend(fontsize=8, ncols=2)


def _shown(curves: dict[str, list]) -> dict[str, list]:
    """The losses, in a fixed order; the scores of a GAN rather than its penalties."""
    names = [
        n for n in ("train/loss", "val/loss", "train/critic", "train/generator") if n in curves
    ]
    return {name: curves[name] for name in names}


def _stroke(name: str, family: str) -> dict[str, Any]:
    dark = name in ("val/loss", "train/generator")
    return {"color": colour(family), "lw": 1.6 if dark else 0.9, "alpha": 1 if dark else 0.55}


def _clip(axis: Any, curves: dict[str, list]) -> None:
    """Leave the first twentieth out of the vertical scale, where a loss falls from far above."""
    values = [p[2] for pts in _shown(curves).values() for p in pts[len(pts) // 20 :]]
    if values:
        low, high = min(values), max(values)
        pad = 0.08 * (high - low) or 0.1
        axis.set_ylim(low - pad, high + pad)
