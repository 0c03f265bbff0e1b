"""Error of four solvers against network evaluations, on a mixture of three Gaussians whose
posterior mean is known, so that nothing but the solver errs."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from aigc.core.rng import Rng
from aigc.families.diffusion.multistep import DPMpp2M, UniPC
from aigc.families.diffusion.sampling import Euler, Heun
from aigc.families.diffusion.schedules import VP, LogNormal

MEANS = torch.tensor([[0.7, 0.2], [-0.5, 0.5], [0.0, -0.8]], dtype=torch.float64)
SD, STEPS, GRID = 0.15, (10, 20, 40, 80, 160), "karras"
SOLVERS = {  # evaluations a step; the multistep solvers on the path they were made for
    "Euler": (Euler, 1, LogNormal()),
    "Heun": (Heun, 2, LogNormal()),
    "DPM-Solver++": (DPMpp2M, 1, VP()),
    "UniPC": (UniPC, 1, VP()),
}
ERRORS: dict[str, np.ndarray] = {}


def denoiser(schedule: Any) -> Any:
    """The exact `E[x_0 | x_t]`, `(x (B, 2), t (B,)) -> (B, 2)`."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (torch.as_tensor(a).double().reshape(-1, 1) for a in schedule(t))
        variance = (alpha * SD) ** 2 + sigma**2
        squared = (x[:, None] - alpha[..., None] * MEANS).square().sum(-1)
        centre = (-0.5 * squared / variance).softmax(1) @ MEANS
        return centre + alpha * SD**2 / variance * (x - alpha * centre)

    return denoise


def end(sampler: Any, schedule: Any) -> Tensor:
    """Where 64 fixed noises end."""
    x = schedule.prior * Rng(1, torch.arange(64)).normal(2).double()
    *_, x = sampler(denoiser(schedule), x, schedule, None)
    return x


def measure(study: Any) -> dict[str, float]:
    """Slopes over 20 to 160 steps, and errors at 40 evaluations."""
    found = {}
    for name, (make, per, schedule) in SOLVERS.items():
        truth = end(Heun(1200, grid=GRID), schedule)
        errors = [float((end(make(n, grid=GRID), schedule) - truth).abs().mean()) for n in STEPS]
        ERRORS[name] = np.array(errors)
        found[f"{name} slope"] = float(np.polyfit(np.log(STEPS[1:]), np.log(errors[1:]), 1)[0])
        found[f"{name} at 40 evaluations"] = errors[STEPS.index(40 // per)]
    return found


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """Log error against log evaluations."""
    fig, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
    for (name, (_, per, _)), mark in zip(SOLVERS.items(), "osv^"):
        label = f"{name}, slope {found[f'{name} slope']:.2f}"
        ax.loglog(per * np.array(STEPS), ERRORS[name], f"{mark}-", ms=4, label=label)
    ax.set(xlabel="network evaluations", ylabel="mean error of a coordinate")
    ax.legend()
    return fig
