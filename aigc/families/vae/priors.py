"""What latents come from: a normal law, mixtures, the VAMP prior, a flow.

A prior is built for `size` latents and data of `shape`; called with `encode(x) -> (mean, log_var)`
it gives its law, with `log_prob(z)` and `sample(u, eps)`, a function of uniform and normal noise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aigc.families.vae.flows import Couplings
from aigc.families.vae.objective import log_normal

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Gaussians:
    """A mixture of diagonal Gaussians: `log_weights (K,)`, `mean, log_var (K, L)`."""

    log_weights: Tensor
    mean: Tensor
    log_var: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """`z (B, L)` to `(B,)`."""
        parts_BK = log_normal(z[:, None], self.mean[None], self.log_var[None])
        return (parts_BK + self.log_weights).logsumexp(1)

    def sample(self, u: Tensor, eps: Tensor) -> Tensor:
        """`u (B,)` picks the component, `eps (B, L)` the place in it."""
        cdf = self.log_weights.double().exp().cumsum(0)
        index = torch.searchsorted(cdf, u.double() * cdf[-1]).clamp(max=len(cdf) - 1)
        return self.mean[index] + (0.5 * self.log_var[index]).exp() * eps


@dataclass(frozen=True)
class Flowed:
    """The law of `flow.inverse(eps)` for a standard normal `eps`."""

    flow: Couplings

    def log_prob(self, z: Tensor) -> Tensor:
        """`z (B, L)` to `(B,)`."""
        eps, log_det = self.flow(z)
        return log_normal(eps, 0.0, 0.0) + log_det

    def sample(self, u: Tensor, eps: Tensor) -> Tensor:
        """A function of `eps (B, L)` alone."""
        return self.flow.inverse(eps)


class Standard(nn.Module):
    """`N(0, I)`."""

    def __init__(self, size: int, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("zero", torch.zeros(1, size), persistent=False)

    def forward(self, encode: Encode) -> Gaussians:
        """The same law for every encoder."""
        return Gaussians(self.zero[:, 0], self.zero, self.zero)


class Mixture(nn.Module):
    """A mixture of diagonal Gaussians, learnt with the rest."""

    def __init__(self, size: int, shape: tuple[int, ...], components: int = 20):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(torch.randn(components, size))
        self.log_var = nn.Parameter(torch.zeros(components, size))

    def forward(self, encode: Encode) -> Gaussians:
        """The same law for every encoder."""
        return Gaussians(self.logits.log_softmax(0), self.mean, self.log_var.clamp(-14, 6))


class Vamp(nn.Module):
    """The mean of the posteriors of learnt pseudo-inputs (Tomczak & Welling 2018, eq. 9); they are
    shown to the encoder without a label."""

    def __init__(self, size: int, shape: tuple[int, ...], components: int = 100):
        super().__init__()
        self.pseudo = nn.Parameter(0.5 * torch.randn(components, *shape))
        weights = torch.full((components,), 1 / components).log()
        self.register_buffer("log_weights", weights, persistent=False)

    def forward(self, encode: Encode) -> Gaussians:
        """The law under the encoder as it is."""
        return Gaussians(self.log_weights, *encode(self.pseudo.tanh()))


class Flow(nn.Module):
    """A normal law pushed through couplings (Dinh et al. 2017), learnt with the rest."""

    def __init__(self, size: int, shape: tuple[int, ...], depth: int = 6, width: int = 128):
        super().__init__()
        self.flow = Couplings(size, depth=depth, width=width)

    def forward(self, encode: Encode) -> Flowed:
        """The same law for every encoder."""
        return Flowed(self.flow)
