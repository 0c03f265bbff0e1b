"""Table and figure of a study of tabular GANs, from its run folders alone.

python experiments/tabular_gan/figures.py runs/tabular_gan [tabular_gan.png]
"""

import sys
from collections import defaultdict

import matplotlib.pyplot as plt
import numpy as np

from aigc.runs import RunDir

METRICS = ("fd", "recall", "coverage")
NAMES = {
    "default": "default cell",
    "recipe": "tabular_gan",
    "gaussian": "Gaussian fit",
    "real": "real data",
}
Values = dict[tuple[str, str], dict[str, list[float]]]


def values(runs: list[RunDir]) -> Values:
    """(data set, `metric extractor`) to row to a value for each seed; references once."""
    out: Values = defaultdict(dict)
    for run in runs:
        data, recipe = run.config["dataset"]["name"], run.config["budget"]["name"] == "tabular_gan"
        rows = [{"of": "recipe" if recipe else "default", **row} for row in run.rows()]
        for row in rows + run.rows("references.jsonl"):
            if row["metric"] in METRICS and row["of"] in NAMES:
                key = data, f"{row['metric']} {row['extractor'].split('@')[0]}"
                found = out[key].setdefault(row["of"], [])
                if row["of"] in ("default", "recipe") or not found:
                    found.append(row["value"])
    return out


def cell(found: list[float]) -> str:
    """`mean ± standard deviation` over seeds, or the one value."""
    spread = f" ± {np.std(found, ddof=1):.2f}" if len(found) > 1 else ""
    return f"{np.mean(found):.2f}{spread}"


def main(folder: str, picture: str = "tabular_gan.png") -> None:
    """Print the table, draw the Frechet distances on random features."""
    found = values(RunDir.below(folder))
    print(f"| data | metric | {' | '.join(NAMES.values())} |\n|---|---|{'---|' * len(NAMES)}")
    for (data, metric), by in sorted(found.items()):
        print(f"| {data} | {metric} | {' | '.join(cell(by[k]) for k in NAMES)} |")
    shown = [key for key in sorted(found) if key[1].startswith("fd randconv")]
    fig, axes = plt.subplots(1, len(shown), figsize=(2.8 * len(shown), 2.6), layout="constrained")
    for ax, key in zip(np.atleast_1d(axes), shown):
        for i, name in enumerate(NAMES):
            ax.bar(i, np.mean(found[key][name]), color=f"C{i}", alpha=0.6)
            ax.plot([i] * len(found[key][name]), found[key][name], "k.", markersize=5)
        ax.set_xticks(range(len(NAMES)), NAMES.values(), rotation=25, fontsize=8)
        ax.set_title(key[0], fontsize=9)
    np.atleast_1d(axes)[0].set_ylabel("Frechet distance, random features", fontsize=8)
    fig.savefig(picture, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
