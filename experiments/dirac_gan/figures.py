"""Trajectories of the Dirac-GAN: what each game does around its equilibrium."""

from typing import Any

import matplotlib.pyplot as plt
from dirac import trajectory

from aigc.analysis.figures import colour
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
PATHS = {}


def measure(study: Any) -> dict[str, float]:
    """The distance from the equilibrium at step 500, a game each; all start at √2."""
    for name, (game, settings) in GAMES.items():
        PATHS[name] = trajectory(game, steps=500, h=0.1, **settings)
    return {name: path[-1].norm().item() for name, path in PATHS.items()}


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """A panel a game; dot: start, square: step 500."""
    fig, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
    for axis, (name, path) in zip(axes.flat, PATHS.items()):
        axis.plot(*path.T, color=colour("gan"), lw=0.9)
        axis.plot(*path[0], "o", color="#24292f", ms=4)
        axis.plot(*path[-1], "s", color="#24292f", ms=4)
        axis.plot(0, 0, "+", color="#24292f", ms=9)
        axis.set_title(f"{name}\n{path[0].norm():.3f} → {found[name]:.3f}")
        axis.set_aspect("equal", "datalim")
    for axis in axes[-1]:
        axis.set_xlabel("generator θ")
    for axis in axes[:, 0]:
        axis.set_ylabel("critic ψ")
    return fig
