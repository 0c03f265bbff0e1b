"""The Dirac-GAN (Mescheder et al. 2018): data at 0, a generator that is one point `theta`, a critic
`D(x) = psi x`; trained by the objectives and penalties of the GAN family.

The equilibrium is (0, 0); near it, what a game does is read off two eigenvalues.
"""

from typing import Any

import torch
from torch import Tensor

from aigc.families.gan.penalties import Penalties


def trajectory(
    objective: Any,
    steps: int = 500,
    h: float = 0.1,
    start: tuple[float, float] = (1.0, -1.0),
    alternate: bool = False,
    weight_clip: float | None = None,
    **penalties: float,
) -> Tensor:
    """`(theta, psi)` after 0 to `steps` gradient steps of size `h`, `(steps + 1, 2)`; both at once,
    or the critic first."""
    theta, psi = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in start)
    real, penalise = torch.zeros(1, 1, dtype=torch.float64), Penalties(**penalties)

    def critic(x: Tensor, y: None) -> Tensor:
        return psi * x

    def critic_step() -> Tensor:
        on_real, on_fake, penalty = penalise(critic, real, theta.detach().view(1, 1), None)
        return torch.autograd.grad(objective.critic(on_real, on_fake) + penalty, psi)[0]

    def generator_step() -> Tensor:
        scores = [psi.detach() * theta.view(1, 1), psi.detach() * real]
        value = objective.generator(*scores[: 1 + objective.paired])
        return torch.autograd.grad(value, theta)[0]

    path = [start]
    for _ in range(steps):
        moves = [critic_step(), generator_step()]
        with torch.no_grad():
            psi -= h * moves[0]
            if weight_clip:
                psi.clamp_(-weight_clip, weight_clip)
        if alternate:
            moves[1] = generator_step()
        with torch.no_grad():
            theta -= h * moves[1]
        path.append((theta.item(), psi.item()))
    return torch.tensor(path, dtype=torch.float64)
