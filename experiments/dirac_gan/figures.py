"""Trajectories of the Dirac-GAN: what each game does around its equilibrium, drawn and measured.

python experiments/dirac_gan/figures.py [trajectories.png]
"""

import sys

import matplotlib.pyplot as plt
from dirac import trajectory

from aigc.families.gan.objective import Minimax, NonSaturating, Wasserstein

GAMES = {
    "minimax, both at once": (Minimax(), {}),
    "minimax, in turns": (Minimax(), {"alternate": True}),
    "non-saturating, in turns": (NonSaturating(), {"alternate": True}),
    "minimax + R1 (0.1)": (Minimax(), {"r1": 0.1}),
    "Wasserstein, both at once": (Wasserstein(), {}),
    "Wasserstein, in turns": (Wasserstein(), {"alternate": True}),
    "Wasserstein, clipped at 1": (Wasserstein(), {"weight_clip": 1.0}),
    "Wasserstein, GP (1)": (Wasserstein(), {"gp": 1.0}),
}


def main(picture: str = "trajectories.png") -> None:
    """Print the radius at step 500, draw a panel a game."""
    fig, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
    for axis, (name, (game, settings)) in zip(axes.flat, GAMES.items()):
        path = trajectory(game, steps=500, h=0.1, **settings)
        start, end = path[[0, -1]].norm(dim=1).tolist()
        print(f"| {name} | {start:.3f} | {end:.3f} |")
        axis.plot(*path.T, color="#CC79A7", lw=0.9)
        axis.plot(*path[0], "o", color="#24292f", ms=4)
        axis.plot(*path[-1], "s", color="#24292f", ms=4)
        axis.plot(0, 0, "+", color="#24292f", ms=9)
        axis.set_title(f"{name}\n{start:.3f} → {end:.3f}", fontsize=9.5)
        axis.set_aspect("equal", "datalim")
        axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("generator θ")
    for axis in axes[:, 0]:
        axis.set_ylabel("critic ψ")
    fig.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
