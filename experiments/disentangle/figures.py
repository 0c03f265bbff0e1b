"""The table of a study of inspected VAEs in Markdown, and its pictures, from run folders alone.

python experiments/disentangle/figures.py runs/disentangle
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.image import imread

from aigc.analysis.inside import SHORT, label, mean_and_half, numbers_of, shown
from aigc.runs import RunDir

COLUMNS = ("rate_nats", "distortion_nats", "active_units", "mig", "sap", "dci_disentanglement",
           "dci_completeness", "dci_informativeness")  # fmt: skip


def groups(study: str) -> dict[str, list[RunDir]]:
    """Inspected runs by setting, in the order of their mean rate."""
    out: dict[str, list[RunDir]] = {}
    for run in RunDir.below(study):
        if "rate_nats" in numbers_of(run):
            out.setdefault(label(run), []).append(run)
    rate = {g: sum(numbers_of(r)["rate_nats"] for r in runs) / len(runs) for g, runs in out.items()}
    return dict(sorted(out.items(), key=lambda item: -rate[item[0]]))


def table(found: dict[str, list[RunDir]]) -> None:
    """Mean and half the width of Student's 95 % interval over seeds."""
    print(f"| | seeds | {' | '.join(SHORT[c] for c in COLUMNS)} |")
    print(f"|---|---|{'---|' * len(COLUMNS)}")
    for name, runs in found.items():
        rows = [numbers_of(run) for run in runs]
        cells = [shown(mean_and_half([row[c] for row in rows])) for c in COLUMNS]
        print(f"| {name} | {len(runs)} | {' | '.join(cells)} |")


def pictures(found: dict[str, list[RunDir]], kind: str, path: Path) -> None:
    """One picture of each setting's first seed, side by side."""
    fig, axes = plt.subplots(1, len(found), figsize=(4.6 * len(found), 5.2), layout="constrained")
    for ax, (name, runs) in zip(axes, found.items()):
        ax.imshow(imread(runs[0] / "inspect" / f"{kind}.png"))
        ax.set_title(name)
        ax.axis("off")
    fig.savefig(path, dpi=110)


def main(study: str) -> None:
    """Print the table, write the pictures beside this file."""
    here, found = Path(__file__).parent, groups(study)
    table(found)
    first, *_, last = found
    pictures({k: found[k] for k in (first, last)}, "traversal", here / "traversal.png")
    pictures(found, "factors", here / "factors.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
