"""Coverage of each class, plain against balanced order, from the rows of the runs alone.

python experiments/long_tail/figures.py runs/long_tail [long_tail.png]
"""

import sys
from collections import defaultdict

import matplotlib.pyplot as plt

from aigc.analysis.compare import NAMES, ORDER, interval
from aigc.analysis.figures import INK, colour, style
from aigc.analysis.load import Record, collect

SHOWN = ("tail_recall", "tail_coverage", "accuracy_synthetic", "accuracy_gain")
Values = dict[tuple, list[float]]


def values(records: list[Record], extractor: str) -> tuple[Values, Values]:
    """Over seeds: by (family, balance, metric), and by (family, balance, metric, class)."""
    whole, each = defaultdict(list), defaultdict(list)
    for record in records:
        key = record.family, record.config["balance"] or "plain"
        for row in record.rows + record.class_rows:
            if row["status"] == "ok" and (row["extractor"] or "").startswith(extractor):
                where = whole if row.get("class") is None else each
                place = (row["class"],) if "class" in row else ()
                where[*key, row["metric"], *place].append(row["value"])
    return whole, each


def cell(found: list[float]) -> str:
    """`mean ± half of the 95 % t interval`."""
    mean, half = interval(found, None)
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def table(whole: Values, each: Values, records: list[Record], extractor: str) -> None:
    """Markdown, with the mean FD of the three rarest classes, and unseen real data."""
    print(f"| | order | seeds | FD, rarest three | {' | '.join(SHOWN)} |")
    print("|---|---|---|---|" + "---|" * len(SHOWN))
    for family in ORDER:
        for order in ("plain", "square_root", "balanced"):
            if (family, order, "tail_recall") not in whole:
                continue
            fds = [sum(fd) / 3 for fd in zip(*(each[family, order, "fd", k] for k in (7, 8, 9)))]
            cells = [cell(fds), *(cell(whole[family, order, name]) for name in SHOWN)]
            print(f"| {NAMES[family]} | {order} | {len(fds)} | {' | '.join(cells)} |")
    for row in records[0].references:
        known = row["metric"] in (*SHOWN, "accuracy_real")
        if known and row["extractor"].startswith(extractor):
            print(row["of"], row["metric"], f"{row['value']:.3f}")


def figure(each: Values, path: str) -> None:
    """A column a family: coverage and recall of the digits from common to rare, a dot a seed."""
    families = [f for f in ORDER if (f, "plain", "coverage", 0) in each]
    grid = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    with style(INK["light"]):
        fig, axes = plt.subplots(2, len(families), figsize=(2.5 * len(families), 4.2), **grid)
        for column, family in zip(axes.T, families):
            for ax, metric in zip(column, ("coverage", "recall")):
                for order, line in (("plain", ":"), ("balanced", "-")):
                    points = [each[family, order, metric, k] for k in range(10)]
                    if all(points):
                        look = {"color": colour(family), "markersize": 2.5}
                        means = [sum(p) / len(p) for p in points]
                        ax.plot(range(10), means, line, label=order, **look)
                        for k, own in enumerate(points):
                            ax.plot([k] * len(own), own, "o", alpha=0.6, **look)
            column[0].set(title=NAMES[family], ylim=(0, 1), xticks=range(10))
            column[1].set_xlabel("digit, common to rare")
            column[1].legend(loc="lower left")
        for ax, name in zip(axes[:, 0], ("coverage of the class", "recall of the class")):
            ax.set_ylabel(name)
        fig.savefig(path, dpi=120, facecolor="white")


def main(folder: str, path: str = "long_tail.png") -> None:
    """Print the table for each extractor, draw the figure for the second."""
    records = collect([folder])
    for extractor in ("randconv", "pca"):
        print(f"\n{extractor}")
        whole, each = values(records, extractor)
        table(whole, each, records, extractor)
    figure(each, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
