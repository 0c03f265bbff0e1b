"""A hundred digits from scratch and from another model: table and figure, from runs alone.

python experiments/few_shot/figures.py runs/few_shot [few_shot.png]
"""

import sys
from collections import defaultdict

import matplotlib.pyplot as plt

from aigc.analysis.compare import NAMES, ORDER, interval
from aigc.analysis.figures import INK, colour, style
from aigc.analysis.load import Record, collect

STARTS = {False: "from scratch", True: "from FashionMNIST"}


def values(records: list[Record]) -> dict[tuple, list[float]]:
    """By (family, whether it started from another run, metric with extractor), over seeds."""
    found = defaultdict(list)
    for record in records:
        for row in record.rows:
            if row["status"] == "ok":
                name = f"{row['metric']} {(row['extractor'] or '').split('@')[0]}".strip()
                found[record.family, bool(record.config["init"]), name].append(row["value"])
    return found


def table(found: dict[tuple, list[float]], names: list[str]) -> None:
    """Markdown: means and 95 % t intervals."""
    print(f"| | start | seeds | {' | '.join(names)} |\n|---|---|---|" + "---|" * len(names))
    for family in [f for f in ORDER if any(key[0] == f for key in found)]:
        for start, told in STARTS.items():
            cells = []
            for name in names:
                mean, half = interval(own, None) if (own := found[family, start, name]) else (0, 0)
                text = f"{mean:.3f}" + (f" ± {half:.3f}" if half else "")
                cells.append(text if own else "–")
            seeds = len(found[family, start, names[0]])
            print(f"| {NAMES[family]} | {told} | {seeds} | {' | '.join(cells)} |")


def figure(found: dict[tuple, list[float]], names: list[str], path: str) -> None:
    """A panel a metric, a dot a seed, a line from scratch to transfer."""
    families = [f for f in ORDER if any(key[0] == f for key in found)]
    with style(INK["light"]):
        fig, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.6), squeeze=False,
                                 layout="constrained")  # fmt: skip
        for ax, name in zip(axes[0], names):
            for family in families:
                pairs = list(zip(found[family, False, name], found[family, True, name]))
                for i, pair in enumerate(pairs):
                    label = NAMES[family] if i == 0 else None
                    ax.plot((0, 1), pair, "o-", color=colour(family), markersize=4, label=label)
            ax.set(title=name, xlim=(-0.3, 1.3))
            ax.set_xticks((0, 1), ("scratch", "transfer"))
        axes[0, 0].legend()
        fig.savefig(path, dpi=150, facecolor="white")


def main(folder: str, path: str = "few_shot.png") -> None:
    """Print the table, draw the figure."""
    records = collect([folder])
    found = values(records)
    names = sorted({key[2] for key in found}, key=lambda n: (n.split()[0] != "fd", n))
    table(found, names)
    for row in records[0].references:
        if row["of"] in ("real", "copies", "gaussian") and row["metric"] in ("fd", "coverage"):
            print(row["of"], row["metric"], row["extractor"].split("@")[0], f"{row['value']:.3f}")
    figure(found, [n for n in names if n.startswith(("fd", "bits"))], path)


if __name__ == "__main__":
    main(*sys.argv[1:])
