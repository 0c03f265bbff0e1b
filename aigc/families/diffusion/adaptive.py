"""The probability-flow ODE by steps that adapt to each sample."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.objective import Denoise
from aigc.families.diffusion.sampling import Sampler, noise_range
from aigc.families.diffusion.schedules import Schedule, expand


@dataclass(frozen=True)
class Adaptive(Sampler):
    """Bogacki & Shampine's 3(2) pair over the noise, at most `steps` attempts.

    `tolerance` is the error allowed in a step, relative to the size of the state. Every row has
    its own time and step, so a sample does not depend on its neighbours.
    """

    steps: int = 1000
    tolerance: float = 1e-2

    def __post_init__(self):
        super().__post_init__()
        if self.tolerance <= 0:
            raise BadInput(f"sampler.tolerance={self.tolerance}: above 0")

    def __call__(
        self, denoise: Denoise, x: Tensor, schedule: Schedule, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`, then the last estimate."""
        high, low = noise_range(schedule, self.start)
        now = torch.full((len(x),), high, dtype=torch.float64, device=x.device)
        h = 0.1 * now

        def slope(z: Tensor, noise: Tensor) -> Tensor:
            t = schedule.time(noise)
            estimate = denoise(z * expand(schedule.scale(*schedule(t)), z), t)
            return (z - estimate) / expand(noise, z)

        z = x / expand(schedule.scale(*schedule(schedule.time(now))), x)
        k1 = slope(z, now)
        for _ in range(self.steps):
            h = torch.minimum(h, torch.minimum(0.8 * now, now - low).clamp(min=0))
            z_new, k4, error = _try(slope, z, k1, now, h)
            size = self.tolerance * (1 + now)  # about the standard deviation of the state
            error = error.double().square().flatten(1).mean(1).sqrt() / size
            good = expand((error <= 1).double(), z) > 0
            z, k1 = torch.where(good, z_new, z), torch.where(good, k4, k1)
            now = torch.where(error <= 1, now - h, now)
            h = h * (0.9 * error.clamp(min=1e-6) ** (-1 / 3)).clamp(0.2, 5)
            yield z * expand(schedule.scale(*schedule(schedule.time(now))), z)
            if bool((now <= low * (1 + 1e-9)).all()):
                break
        yield z - expand(now, z) * k1


def _try(slope, z: Tensor, k1: Tensor, now: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One attempt: the third-order state, its slope, and its distance from second order."""
    h_z = -expand(h, z)
    k2 = slope(z + h_z / 2 * k1, now - h / 2)
    k3 = slope(z + h_z * 3 / 4 * k2, now - 3 * h / 4)
    z_new = z + h_z * (2 * k1 + 3 * k2 + 4 * k3) / 9
    k4 = slope(z_new, now - h)
    return z_new, k4, h_z * (-5 / 72 * k1 + k2 / 12 + k3 / 9 - k4 / 8)
