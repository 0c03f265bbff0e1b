"""What the latent carries through training, from the logs of runs.

python experiments/text_vae/figures.py OUT.png NAME=RUN [NAME=RUN ...]
"""

import csv
import json
import sys
from collections import defaultdict
from math import log, prod
from pathlib import Path

import matplotlib.pyplot as plt

Curve = list[tuple[float, float]]


def curves(folder: Path) -> dict[str, Curve]:
    """Values by examples seen for every name in the log."""
    out: dict[str, Curve] = defaultdict(list)
    for row in csv.DictReader((folder / "log.csv").open()):
        out[row["name"]].append((int(row["examples"]), float(row["value"])))
    return out


def dims(folder: Path) -> int:
    """Numbers in one text of 64 bytes as the family sees it: tokens, or eight bits for each."""
    shape = json.loads((folder / "status.json").read_text())["space"]["shape"]
    return prod(shape) * (1 if folder.name.startswith("text_vae") else 8)


def main(out: str, *pairs: str) -> None:
    """Print the table at the end of training, draw the KL."""
    fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, _, path in (pair.partition("=") for pair in pairs):
        folder = Path(path)
        found, size = curves(folder), dims(folder)
        kl = [(x, size * value) for x, value in found["train/kl"]]
        bits = found["val/loss"][-1][1] * size / 64 / log(2)
        active = found["train/active_units"][-1][1]
        print(f"| {name} | {kl[-1][1]:.3f} | {active:.2f} | {bits:.2f} |")
        ax.plot(*zip(*kl), label=name)
    ax.set(xlabel="examples", ylabel="KL of one text (nats)", yscale="log")
    ax.legend(fontsize=7, loc="center right")
    fig.savefig(out, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
