"""Exponential integrators that remember earlier estimates: second order for one evaluation a
step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.families.diffusion.objective import Denoise
from aigc.families.diffusion.sampling import Point, Stepper, Walk


@dataclass(frozen=True)
class DPMpp2M(Stepper):
    """DPM-Solver++ 2M (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""

    steps: int = 20

    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """From the estimate at `now`, extrapolated by the one before."""
        walk.past.append((now, now.estimate(denoise, x)))
        return predict(x, then, walk.past)


@dataclass(frozen=True)
class UniPC(Stepper):
    """UniPC of order 2 with B(h) = e^h - 1 (Zhao et al. 2023, arXiv:2302.04867, algorithms 5 to
    8).

    Its predictor is that of `DPMpp2M`; the estimate at the predicted state corrects the state
    before the next step starts from it.
    """

    steps: int = 20

    def step(self, denoise: Denoise, x: Tensor, now: Point, then: Point, walk: Walk) -> Tensor:
        """Evaluate, correct, predict."""
        x0 = now.estimate(denoise, x)
        if walk.past:
            before = walk.past[-1][2]
            x = correct(before, now, x0, walk.past)
        walk.past.append((now, x0, x))
        return predict(x, then, walk.past)


def predict(x: Tensor, then: Point, past: list) -> Tensor:
    """The state at `then` from `x` at the last point of `past`; first order at both ends."""
    now, x0 = past[-1][:2]
    h = then.log_snr - now.log_snr
    if len(past) > 1 and then.sigma > 0:
        before, x0_before = past[-2][:2]
        ratio = h / (now.log_snr - before.log_snr)
        x0 = x0 + ratio / 2 * (x0 - x0_before)
    return then.sigma / now.sigma * x - then.alpha * torch.expm1(-h) * x0


def correct(x: Tensor, now: Point, x0: Tensor, past: list) -> Tensor:
    """The state at `now` again, from `x` at the last point of `past` and the estimate `x0` at
    `now`."""
    last, m0 = past[-1][:2]
    h = now.log_snr - last.log_snr
    drift = torch.expm1(-h)
    change = 0.5 * (x0 - m0)
    if len(past) > 1:
        before, m1 = past[-2][:2]
        r = (before.log_snr - last.log_snr) / h
        # the 2 x 2 system of eq. 9 in closed form
        b1 = (-drift / h - 1) / drift
        b2 = ((drift / h + 1) / h - 0.5) * 2 / drift
        rho = (b1 - b2) / (1 - r)
        change = rho / r * (m1 - m0) + (b1 - rho) * (x0 - m0)
    return now.sigma / last.sigma * x - now.alpha * drift * (m0 + change)
