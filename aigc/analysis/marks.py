"""Marks of studies: bars (or diamonds) and lines over seeds, with 95 % t intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from aigc.analysis.compare import interval

INK = "#24292f"


def bars(
    ax: Any, values: Mapping[str, Sequence[float]], colours: str | Sequence[str], zero: bool = True
) -> None:
    """A horizontal bar a name, from the top, and a dot a seed; without `zero` the axis need not
    begin there, and a diamond stands for the bar."""
    colours = [colours] * len(values) if isinstance(colours, str) else colours
    for i, ((_, own), shade) in enumerate(zip(values.items(), colours)):
        middle, half = interval(list(own), None)
        if zero:
            ax.barh(i, middle, xerr=half or 0, color=shade, alpha=0.5, capsize=3, ecolor=INK)
        else:
            ax.errorbar(middle, i, xerr=half or 0, fmt="D", ms=6, color=shade, capsize=3)
        ax.plot(own, [i] * len(own), "o", color=INK, ms=2.5)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.4, -0.6)


def line(ax: Any, x: Sequence[float], values: Sequence[Sequence[float]], **look: Any) -> None:
    """Means with intervals against `x`, one list of seeds a point; `look` as for `errorbar`."""
    stats = [interval(list(own), None) for own in values]
    middles, halves = zip(*((middle, half or 0) for middle, half in stats))
    ax.errorbar(x, middles, halves, **{"ms": 4, "capsize": 2, "fmt": "o-", **look})
