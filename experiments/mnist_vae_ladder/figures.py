"""The ladder of the README, from `nats.npz` in the folders of runs.

python experiments/mnist_vae_ladder/figures.py OUT.png NAME=RUN [NAME=RUN ...]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

PUBLISHED = {  # test nats; what is fixed and what is drawn anew at every epoch do not compare
    "VAE, dense, anew (Burda et al. 2016)": 86.76,
    "IWAE-50, dense, anew (Burda et al. 2016)": 84.78,
    "VAE, dense, fixed (Burda et al. 2016)": 88.71,
    "IWAE-5, dense, fixed (Burda et al. 2016)": 87.63,
    "IWAE-50, dense, fixed (Burda et al. 2016)": 87.10,
    "PixelCNN, fixed (van den Oord et al. 2016)": 81.30,
}


def measured(folder: str) -> dict[str, float]:
    """Bounds of one run, and the likelihood of all test digits with its error."""
    found = np.load(Path(folder) / "nats.npz")
    gap = found["many"] - found["few"][found["rows"]]
    return {
        "elbo": found["one"].mean(),
        "subset": found["many"].mean(),
        "subset_error": found["many"].std() / len(gap) ** 0.5,
        "nll": found["few"].mean() + gap.mean(),
        "error": gap.std() / len(gap) ** 0.5,
    }


def main(out: str, *pairs: str) -> None:
    """Print the table, draw the ladder."""
    ours = {name: measured(folder) for name, _, folder in (p.partition("=") for p in pairs)}
    for name, row in ours.items():
        print(
            f"| {name} | {row['elbo']:.2f} | {row['subset']:.2f} +- {row['subset_error']:.2f} "
            f"| {row['nll']:.2f} +- {row['error']:.2f} |"
        )
    values = PUBLISHED | {f"{name}, conv, fixed (ours)": row["nll"] for name, row in ours.items()}
    order = sorted(values, key=values.get, reverse=True)
    colors = ["tab:orange" if "ours" in name else "tab:blue" for name in order]
    colors = ["lightgrey" if "anew" in name else color for name, color in zip(order, colors)]
    fig, ax = plt.subplots(figsize=(7, 0.4 * len(order) + 1), layout="constrained")
    ax.scatter([values[name] for name in order], order, c=colors)
    for name in order:
        ax.annotate(f"  {values[name]:.2f}", (values[name], name), va="center", fontsize=8)
    ax.set(xlim=(80, 90), xlabel="test negative log-likelihood (nats), lower is better")
    ax.grid(axis="x", alpha=0.3)
    fig.savefig(out, dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:])
