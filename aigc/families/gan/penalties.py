"""What regularises a critic `D(x, y) -> (B, 1 + heads)`, whose first output is its score:
penalties to add to its loss, and spectral norm.

Gradients of gradients are taken in full precision, whatever autocast is on.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Critic = Callable[[Tensor, Tensor | None], Tensor]


def squared_gradient(critic: Critic, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """`||d score / d x||**2` of each example `(B,)`, differentiable, and the critic's outputs."""
    x = x.detach().requires_grad_(True)
    with torch.autocast(x.device.type, enabled=False):
        out = critic(x, y)
        (gradient,) = torch.autograd.grad(out[:, 0].sum(), x, create_graph=True)
        return gradient.square().flatten(1).sum(1), out


def r1(critic: Critic, real: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """`1/2 E ||grad D(real)||**2` (Mescheder et al. 2018, eq. 9), and the critic's outputs. Of
    generated data it is R2 (eq. 10)."""
    squared, out = squared_gradient(critic, real, y)
    return squared.mean() / 2, out


def unit_gradient(critic: Critic, x: Tensor, y: Tensor | None) -> Tensor:
    """`E (||grad D(x)|| - 1)**2`."""
    squared, _ = squared_gradient(critic, x, y)
    return ((squared + 1e-12).sqrt() - 1).square().mean()


def gradient_penalty(
    critic: Critic, real: Tensor, fake: Tensor, y: Tensor | None, mix: Tensor
) -> Tensor:
    """`unit_gradient` between real and fake (Gulrajani et al. 2017); `mix (B,)` in [0, 1]."""
    mix = mix.view(-1, *[1] * (real.ndim - 1))
    return unit_gradient(critic, mix * real + (1 - mix) * fake, y)


def dragan(critic: Critic, real: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
    """`unit_gradient` around real data only (Kodali et al. 2017, eq. 1): `noise`, standard normal
    and like `real`, moves them by half their standard deviation."""
    return unit_gradient(critic, real + 0.5 * real.std() * noise, y)


def consistency(
    critic: Critic, scores: Tensor, x: Tensor, augment: Callable[[Tensor], Tensor], y: Tensor | None
) -> Tensor:
    """`E (D(x) - D(T(x)))**2` (Zhang et al. 2020; on real and generated data it is bCR, Zhao et
    al. 2021); `scores` are those of `x`."""
    return (scores - critic(augment(x), y)[:, :1]).square().mean()


class LeCam(nn.Module):
    """`E (D(x) - a_F)**2 + E (D(G(z)) - a_R)**2` (Tseng et al. 2021, eq. 2), where the anchors
    `a_R` and `a_F` are moving averages of the mean scores of real and generated data."""

    def __init__(self, decay: float = 0.99):
        super().__init__()
        self.decay = decay
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scores to a scalar; the anchors move first."""
        with torch.no_grad():
            self.real.lerp_(real.float().mean(), 1 - self.decay)
            self.fake.lerp_(fake.float().mean(), 1 - self.decay)
        return (real - self.fake).square().mean() + (fake - self.real).square().mean()


def normalised(critic: nn.Module) -> nn.Module:
    """Divide every weight of linear and convolutional layers by its largest singular value
    (Miyato et al. 2018), estimated by one power iteration a call.

    A layer that starts at zero has no direction to keep and starts at random instead.
    """
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    for layer in [m for m in critic.modules() if isinstance(m, layers)]:
        if not layer.weight.any():
            layer.reset_parameters()
        spectral_norm(layer)
    return critic


class Penalties(nn.Module):
    """All of them by their weights, 0 = off."""

    def __init__(
        self,
        r1: float = 0.0,
        r2: float = 0.0,
        gp: float = 0.0,
        dragan: float = 0.0,
        lecam: float = 0.0,
    ):
        super().__init__()
        self.r1, self.r2, self.gp, self.dragan, self.lecam = r1, r2, gp, dragan, lecam
        if lecam:
            self.anchors = LeCam()

    def forward(
        self, critic: Critic, real: Tensor, fake: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the critic says of real and of generated data, and the weighted penalties."""
        on_real, penalty = self._zero_centred(critic, real, y, self.r1)
        if self.gp:
            mix = torch.rand(len(real), device=real.device)
            penalty = penalty + self.gp * gradient_penalty(critic, real, fake, y, mix)
        if self.dragan:
            around = dragan(critic, real, y, torch.randn_like(real))
            penalty = penalty + self.dragan * around
        on_fake, slope = self._zero_centred(critic, fake, y, self.r2)
        penalty = penalty + slope
        if self.lecam:
            penalty = penalty + self.lecam * self.anchors(on_real[:, :1], on_fake[:, :1])
        return on_real, on_fake, penalty

    def _zero_centred(
        self, critic: Critic, x: Tensor, y: Tensor | None, weight: float
    ) -> tuple[Tensor, Tensor]:
        if not weight:
            return critic(x, y), x.new_zeros(())
        slope, out = r1(critic, x, y)
        return out, weight * slope
