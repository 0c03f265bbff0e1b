"""The table and the figure of FD against network evaluations, from a run's rows alone.

python experiments/mnist_nfe/figures.py RUN [fd_nfe.png]
"""

import sys

import matplotlib.pyplot as plt

from aigc.runs import RunDir

Curves = dict[str, dict[str, dict[int, float]]]


def curves(run: RunDir) -> tuple[Curves, dict[str, float]]:
    """FD by extractor, sampler and evaluations, and that of unseen real data by extractor."""
    out: Curves = {}
    for row in run.rows():
        if row["metric"] == "fd" and row["value"] is not None:
            extractor, sampler = row["extractor"].split("@")[0], row["sampler"].split()[0]
            out.setdefault(extractor, {}).setdefault(sampler, {})[row["nfe"]] = row["value"]
    floors = {
        row["extractor"].split("@")[0]: row["value"]
        for row in run.rows("references.jsonl")
        if row["metric"] == "fd" and row["of"] == "real"
    }
    return out, floors


def table(found: Curves, floors: dict[str, float]) -> None:
    """Markdown; a cell reads `FD (evaluations)`."""
    for extractor, samplers in found.items():
        width = max(map(len, samplers.values()))
        print(f"\n| FD {extractor} |{'  |' * width}\n|---|{'---|' * width}")
        for sampler, points in samplers.items():
            cells = [f"{value:.3f} ({nfe})" for nfe, value in sorted(points.items())]
            print(f"| {sampler} | {' | '.join(cells)} |")
        print(f"| real data | {floors[extractor]:.3f} |{'  |' * (width - 1)}")


def figure(found: Curves, floors: dict[str, float], path: str) -> None:
    """One panel an extractor."""
    fig, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.4), layout="constrained")
    for ax, (extractor, samplers) in zip(axes, found.items()):
        for sampler, points in samplers.items():
            ax.plot(*zip(*sorted(points.items())), marker="o", markersize=3, label=sampler)
        ax.axhline(floors[extractor], color="grey", linestyle=":", label="real data")
        ax.set(xscale="log", yscale="log", title=extractor, xlabel="network evaluations")
        ax.set_ylim(top=10 * floors[extractor])  # three steps of Heun are beyond the page
        ax.set_xticks([5, 10, 20, 40], ["5", "10", "20", "40"])
        ax.minorticks_off()
    axes[0].set_ylabel("Frechet distance")
    axes[-1].legend(fontsize=8)
    fig.savefig(path, dpi=150)


def main(path: str, picture: str = "fd_nfe.png") -> None:
    """Print the table, draw the figure."""
    found, floors = curves(RunDir(path))
    table(found, floors)
    figure(found, floors, picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
