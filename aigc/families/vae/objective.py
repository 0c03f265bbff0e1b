"""Variational autoencoders: Gaussian posteriors, the evidence lower bound and its relatives.

Notation of Kingma & Welling 2014: encoder `q(z | x)`, a diagonal Gaussian `(mean, log_var)`;
decoder `p(x | z)`; prior `p(z)`. An objective sees `Draws` of a batch and gives what is minimised,
in nats a dimension of the data; `k` is how many latents of each example it wants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import ClassVar

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput

Cost = tuple[Tensor, dict[str, Tensor]]  # what is minimised, and what else is logged


def split_posterior(out: Tensor) -> tuple[Tensor, Tensor]:
    """Encoder output `(B, 2 C, *S)` to flat `mean, log_var (B, C * prod(S))`, the latter kept in
    a range that cannot overflow."""
    mean, log_var = (half.flatten(1) for half in out.chunk(2, dim=1))
    return mean, log_var.clamp(-14, 6)


def reparameterize(mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
    """`z = mean + sd * eps`."""
    return mean + (0.5 * log_var).exp() * eps


def kl_by_dim(mean: Tensor, log_var: Tensor) -> Tensor:
    """`KL(q(z_j | x) || N(0, 1))` of each latent, elementwise."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var)


def kl_to_prior(mean: Tensor, log_var: Tensor) -> Tensor:
    """`KL(q(z | x) || N(0, I))` of each example `(B,)` (Kingma & Welling 2014, appendix B)."""
    return kl_by_dim(mean, log_var).sum(1)


def log_normal_by_dim(z: Tensor, mean: Tensor | float, log_var: Tensor | float) -> Tensor:
    """Log density of Gaussians, elementwise."""
    log_var = torch.as_tensor(log_var, device=z.device, dtype=z.dtype)
    return -0.5 * ((z - mean) ** 2 / log_var.exp() + log_var + log(2 * pi))


def log_normal(z: Tensor, mean: Tensor | float, log_var: Tensor | float) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the last axis."""
    return log_normal_by_dim(z, mean, log_var).sum(-1)


def importance_bound(log_weights_KB: Tensor) -> Tensor:
    """`log 1/K sum_k w_k` for `w = p(x, z) / q(z | x)`: at most `log p(x)` on average, and
    closer with `K` (Burda et al. 2016, eq. 8). `(K, B)` to `(B,)`."""
    return torch.logsumexp(log_weights_KB, dim=0) - log(len(log_weights_KB))


def active_units(mean: Tensor) -> Tensor:
    """Share of latents whose posterior mean `(B, L)` varies over the data by more than 0.01
    (Burda et al. 2016, section 5.2); the others carry nothing."""
    return (mean.var(0, correction=0) > 0.01).float().mean()


def fixed(net: nn.Module, *inputs: Tensor | None) -> Tensor:
    """What a network says, with gradients for its inputs and none for its own parameters."""
    trained = [p for p in net.parameters() if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    out = net(*inputs)
    for p in trained:
        p.requires_grad_(True)
    return out


@dataclass(frozen=True)
class Draws:
    """`K` latents of each example of a batch and what they cost.

    `z (K, B, L)`; `nats`, `log_q`, `log_p` are `-log p(x | z)`, `log q(z | x)` and `log p(z)`,
    `(K, B)`; `kl (B, G)` is `KL(q(z | x) || p(z))` by latent where it is known in closed form,
    by level of a ladder, or whole; `mean, log_var (B, L)` are None for a posterior that is no
    Gaussian; `prior()` draws `(B, L)` from the prior. `dims` is the number of values in `x`.
    """

    z: Tensor
    nats: Tensor
    log_q: Tensor
    log_p: Tensor
    kl: Tensor
    mean: Tensor | None = None
    log_var: Tensor | None = None
    prior: Callable[[], Tensor] | None = None
    dims: int = 1

    @property
    def log_w(self) -> Tensor:
        """Importance weights `log p(x, z) - log q(z | x)`, `(K, B)`."""
        return self.log_p - self.nats - self.log_q

    def elbo(self, beta: float = 1.0, kl: Tensor | None = None) -> Tensor:
        """`-E log p(x | z) + beta KL`, nats a dimension; `kl` replaces the mean KL."""
        kl = self.kl.sum(1).mean() if kl is None else kl
        return self.nats.mean() / self.dims + beta * (kl / self.dims)

    def gaussian(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and log variance; BadInput where the posterior has none."""
        if self.mean is None or self.log_var is None:
            raise BadInput(f"model/bound={name} needs model/posterior=gaussian and model.levels=1")
        return self.mean, self.log_var


def health(draws: Draws, mean: Tensor) -> dict[str, Tensor]:
    """What is logged of every step, whatever is minimised: collapse is a KL that goes to zero, and
    units that are no longer active."""
    return {
        "reconstruction": draws.nats.detach().mean() / draws.dims,
        "kl": draws.kl.detach().sum(1).mean() / draws.dims,
        "active_units": active_units(mean.detach()),
    }


@dataclass(frozen=True)
class ELBO:
    """The evidence lower bound, weighed by `beta` (Higgins et al. 2017).

    The weight rises from 0 in the first share `anneal` of the run (Bowman et al. 2016), and a
    latent that costs less than `free_bits` nats on average is not pressed further (Kingma et al.
    2016, eq. 15): two ways to keep latents in use.
    """

    anneal: float = 0.0
    free_bits: float = 0.0
    k: ClassVar[int] = 1

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """`done` is the share of the run that is over."""
        weight = beta * min(1.0, done / self.anneal) if self.anneal else beta
        kl = draws.kl.mean(0).clamp(min=self.free_bits).sum() if self.free_bits else None
        return draws.elbo(weight, kl), {}


@dataclass(frozen=True)
class Capacity:
    """`gamma |KL - C|`, with `C` nats that rise from 0 to `nats` in the first share `rise` of the
    run (Burgess et al. 2018, eq. 8)."""

    nats: float = 25.0
    gamma: float = 100.0
    rise: float = 0.8
    k: ClassVar[int] = 1

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """`beta` has no part in it."""
        capacity = self.nats * (min(1.0, done / self.rise) if self.rise else 1.0)
        gap = (draws.kl.sum(1).mean() - capacity).abs()
        return draws.elbo(self.gamma, gap), {}


@dataclass(frozen=True)
class IWAE:
    """The importance-weighted bound of `k` latents (Burda et al. 2016, eq. 8)."""

    k: int = 8

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """A bound weighs nothing: `beta` has no part in it."""
        return -importance_bound(draws.log_w).mean() / draws.dims, {}


@dataclass(frozen=True)
class MIWAE:
    """The mean of `groups` importance-weighted bounds: as many latents, but gradients of the
    encoder that a large `k` does not drown in noise (Rainforth et al. 2018, section 4)."""

    groups: int = 4
    each: int = 4

    @property
    def k(self) -> int:
        """All latents."""
        return self.groups * self.each

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """`beta` has no part in it."""
        log_w = draws.log_w.unflatten(0, (self.each, self.groups))
        return -importance_bound(log_w).mean() / draws.dims, {}


@dataclass(frozen=True)
class CIWAE:
    """A mixture of both bounds, `share` of it the plain one (Rainforth et al. 2018, section 4)."""

    k: int = 8
    share: float = 0.5

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """`beta` has no part in it."""
        tight = -importance_bound(draws.log_w).mean() / draws.dims
        return self.share * draws.elbo() + (1 - self.share) * tight, {}
