"""Adversarial losses on the critic's scores (any real number, high = real), and gradient
penalties."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Critic = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, with the non-saturating generator loss."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scores `(B, 1)` to a scalar."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Scores of fakes to a scalar."""
        return F.softplus(-fake).mean()


@dataclass(frozen=True)
class Hinge:
    """Lim & Ye 2017; Miyato et al. 2018."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scores `(B, 1)` to a scalar."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Scores of fakes to a scalar."""
        return -fake.mean()


@dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017; needs a gradient penalty."""

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scores `(B, 1)` to a scalar."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Scores of fakes to a scalar."""
        return -fake.mean()


def squared_gradient(critic: Critic, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """`||d critic / d x||**2` of each example `(B,)`, differentiable, and the scores `(B, 1)`."""
    x = x.detach().requires_grad_(True)
    scores = critic(x, y)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1), scores


def r1(critic: Critic, real: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """`1/2 E ||grad D(real)||**2` (Mescheder et al. 2018, eq. 9), and the scores of the real
    data."""
    squared, scores = squared_gradient(critic, real, y)
    return squared.mean() / 2, scores


def gradient_penalty(
    critic: Critic, real: Tensor, fake: Tensor, y: Tensor | None, mix: Tensor
) -> Tensor:
    """`E (||grad D(x)|| - 1)**2` between real and fake (Gulrajani et al. 2017); `mix (B,)` in
    [0, 1]."""
    mix = mix.view(-1, *[1] * (real.ndim - 1))
    squared, _ = squared_gradient(critic, mix * real + (1 - mix) * fake, y)
    return ((squared + 1e-12).sqrt() - 1).square().mean()
