"""The likelihood of the probability-flow ODE (Song et al. 2021, section 4.3 and appendix D.2)."""

from dataclasses import dataclass
from itertools import pairwise
from math import log, pi

import torch
from torch import Tensor

from aigc.families.diffusion.objective import Denoise
from aigc.families.diffusion.sampling import Point, points
from aigc.families.diffusion.schedules import Schedule


def flow_nats(
    denoise: Denoise, x_0: Tensor, schedule: Schedule, quantum: Tensor, steps: int = 64
) -> Tensor:
    """`-log p(ids)` in nats `(B,)`, float64, of uniformly dequantised data; noise and probe come
    from torch's global generator.

    In expectation it is exact for the density, up to the solver's error, and so a bound for the
    ids (Theis et al. 2016, section 3.1). The ODE runs from the lowest noise up by Heun's method.
    """
    quantum = quantum.double().to(x_0.device).expand(x_0.shape[1:])
    x = x_0.double() + quantum * (torch.rand_like(x_0.double()) - 0.5)
    field = Field(denoise, torch.randint_like(x, 2) * 2 - 1, x_0.dtype)
    path = _path(schedule, steps)
    w, volume = x * path[0].alpha / _size(path[0]), x.new_zeros(len(x))
    for now, then in pairwise(path):
        du = _u(then) - _u(now)
        k1, d1 = field(w, now)
        k2, d2 = field(w + du * k1, then)
        w, volume = w + du / 2 * (k1 + k2), volume + du / 2 * (d1 + d2)
    sd, dims = float(schedule.prior / _size(path[-1])), quantum.numel()
    nats = 0.5 * (w / sd).square().flatten(1).sum(1) + dims * (log(sd) + 0.5 * log(2 * pi))
    shrunk = dims * float((path[0].alpha / _size(path[0])).log())
    return nats - volume - shrunk - float(quantum.log().sum())


@dataclass(frozen=True)
class Field:
    """The flow on the circle: `w = cos(a) x_0 + sin(a) eps` moves by `dw/du = cos(a) w - x_0` over
    `u = log tan(a / 2)`, smooth at both ends of every schedule.

    The divergence is Hutchinson's estimate with a `probe` of signs.
    """

    denoise: Denoise
    probe: Tensor
    dtype: torch.dtype

    def __call__(self, w: Tensor, at: Point) -> tuple[Tensor, Tensor]:
        """Velocity and divergence."""
        cosine, size = at.alpha / _size(at), _size(at)
        with torch.enable_grad():
            x = (w * size).to(self.dtype).requires_grad_()
            x0 = at.estimate(self.denoise, x)
            (grad,) = torch.autograd.grad((x0 * self.probe.to(self.dtype)).sum(), x)
        trace = (self.probe * grad.double()).flatten(1).sum(1) * size
        return cosine * w - x0.detach().double(), cosine * w[0].numel() - trace


def _path(schedule: Schedule, steps: int) -> list[Point]:
    """Points even in `u` from the lowest node to the end."""
    low, high = points(schedule, torch.tensor([1 / schedule.steps, 1.0], dtype=torch.float64))
    u = torch.linspace(float(_u(low)), float(_u(high)), steps + 1, dtype=torch.float64)
    a = 2 * u.exp().atan()
    noise = a.sin() / schedule.scale(a.cos(), a.sin())
    return points(schedule, schedule.time(noise))


def _u(at: Point) -> Tensor:
    return (torch.atan2(at.sigma, at.alpha) / 2).tan().log()


def _size(at: Point) -> Tensor:
    return torch.hypot(at.alpha, at.sigma)
