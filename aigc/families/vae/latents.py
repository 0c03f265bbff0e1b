"""Posterior and prior as one: what a latent costs on its way to the decoder."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.families.vae.objective import (
    Draws,
    importance_bound,
    kl_by_dim,
    log_normal,
    reparameterize,
)
from aigc.families.vae.priors import Encode, Standard


class Law(Protocol):
    """What a prior gives."""

    def log_prob(self, z: Tensor) -> Tensor:
        """`z (B, L)` to `(B,)`."""

    def sample(self, u: Tensor, eps: Tensor) -> Tensor:
        """Latents from uniform `u (B,)` and normal `eps (B, L)`."""


class Draw(NamedTuple):
    """Latents `z (B, L)`, their `log_q` and `log_p (B,)`, and the KL by groups `(B, G)`."""

    z: Tensor
    log_q: Tensor
    log_p: Tensor
    kl: Tensor


Moments = tuple[Tensor, Tensor]  # mean and log variance `(B, L)`, as an encoder gives them


def times(x: Tensor | None, k: int) -> Tensor | None:
    """The batch `k` times, one after the other."""
    return x if x is None or k == 1 else torch.cat([x] * k)


def draw_many(
    latents: "Flat | Ladder",
    moments: Moments,
    encode: Encode,
    nats: Callable[[Tensor], Tensor],
    k: int,
    dims: int,
) -> Draws:
    """`k` latents of each example, decoded together: `nats(z)` takes `(k * B, L)`, the first
    latent of each example first."""
    law = latents.law(encode)
    drawn = [latents.draw(*moments, torch.randn_like(moments[0]), law) for _ in range(k)]
    z, log_q, log_p = (torch.stack([draw[i] for draw in drawn]) for i in range(3))
    kl = torch.stack([draw.kl for draw in drawn]).mean(0) if k > 1 else drawn[0].kl
    mean, log_var = moments if latents.gaussian else (None, None)

    def prior() -> Tensor:
        return law.sample(torch.rand_like(moments[0][:, 0]), torch.randn_like(moments[0]))

    cost = nats(z.flatten(0, 1)).view(k, -1)
    return Draws(z, cost, log_q, log_p, kl, mean, log_var, prior, dims)


def bound_nats(
    latents: "Flat | Ladder",
    moments: Moments,
    encode: Encode,
    nats: Callable[[Tensor], Tensor],
    k: int,
) -> Tensor:
    """`-log 1/K sum p(x, z_k) / q(z_k | x)`, `(B,)`, one latent of each example at a time."""
    law, log_w = latents.law(encode), []
    for _ in range(k):
        z, log_q, log_p, _ = latents.draw(*moments, torch.randn_like(moments[0]), law)
        log_w.append(log_p - nats(z) - log_q)
    return -importance_bound(torch.stack(log_w))


class Flat(nn.Module):
    """Latents of one level: a Gaussian posterior, through a flow if there is one, and a prior.

    `posterior(size, context)` and `prior(size, shape)` build them.
    """

    def __init__(
        self,
        size: int,
        shape: tuple[int, ...],
        prior: Callable[..., nn.Module] = Standard,
        posterior: Callable[..., nn.Module] | None = None,
    ):
        super().__init__()
        self.prior = prior(size, shape)
        self.flow = posterior and posterior(size, context=2 * size)
        self.known = isinstance(self.prior, Standard) and self.flow is None
        self.gaussian = self.flow is None

    def law(self, encode: Encode) -> Law:
        """The law of `p(z)`."""
        return self.prior(encode)

    def draw(self, mean: Tensor, log_var: Tensor, eps: Tensor, law: Law) -> Draw:
        """One latent of each posterior, from `eps (B, L)`."""
        z = reparameterize(mean, log_var, eps)
        log_q = log_normal(z, mean, log_var)
        if self.flow:
            z, log_det = self.flow(z, torch.cat([mean, log_var], 1))
            log_q = log_q - log_det
        log_p = law.log_prob(z)
        kl = kl_by_dim(mean, log_var) if self.known else (log_q - log_p)[:, None]
        return Draw(z, log_q, log_p, kl)


class Ladder(nn.Module):
    """Latents of several levels, half as many in each (Sonderby et al. 2016).

    Going down, `p(z_i | z_above)` is a Gaussian that a small network reads in the level above, and
    the posterior is its product with the encoder's estimate of that level, weighed by precision
    (eq. 17-19). The encoder gives the estimates of all levels at once, and the decoder sees them
    all.
    """

    gaussian = known = False

    def __init__(self, latent: int, levels: int, width: int = 128):
        super().__init__()
        self.sizes = ladder_sizes(latent, levels)
        self.down = nn.ModuleList(
            nn.Sequential(nn.Linear(above, width), nn.SiLU(), nn.Linear(width, 2 * size))
            for size, above in zip(self.sizes, self.sizes[1:])
        )

    def law(self, encode: Encode) -> "Ladder":
        """Levels know their own prior."""
        return self

    def draw(self, mean: Tensor, log_var: Tensor, eps: Tensor, law: Law) -> Draw:
        """Estimates `(B, sum of sizes)`, the lowest level first, to latents laid out alike."""
        levels = list(zip(*(part.split(self.sizes, 1) for part in (mean, log_var, eps))))
        zs, kls, log_q, log_p = [], [], 0.0, 0.0
        for i, (own_mean, own_log_var, noise) in reversed(list(enumerate(levels))):
            p_mean, p_log_var = self._prior(i, zs, own_mean)
            q_mean, q_log_var = own_mean, own_log_var
            if zs:
                q_mean, q_log_var = merge(own_mean, own_log_var, p_mean, p_log_var)
            z = reparameterize(q_mean, q_log_var, noise)
            log_q = log_q + log_normal(z, q_mean, q_log_var)
            log_p = log_p + log_normal(z, p_mean, p_log_var)
            kls.insert(0, kl_of_gaussians(q_mean, q_log_var, p_mean, p_log_var))
            zs.insert(0, z)
        return Draw(torch.cat(zs, 1), log_q, log_p, torch.stack(kls, 1))

    def by_level(self, draws: Draws) -> dict[str, Tensor]:
        """The KL of each level, the lowest first: the upper ones are the first to collapse."""
        levels = draws.kl.detach().mean(0) / draws.dims
        return {f"kl_{i}": kl for i, kl in enumerate(levels, 1)}

    def log_prob(self, z: Tensor) -> Tensor:
        """`z (B, L)` to `(B,)`."""
        zs = z.split(self.sizes, 1)
        parts = [log_normal(own, *self._prior(i, zs[i + 1 :], own)) for i, own in enumerate(zs)]
        return sum(parts)

    def sample(self, u: Tensor, eps: Tensor) -> Tensor:
        """A function of `eps (B, L)` alone."""
        zs: list[Tensor] = []
        for i, noise in reversed(list(enumerate(eps.split(self.sizes, 1)))):
            zs.insert(0, reparameterize(*self._prior(i, zs, noise), noise))
        return torch.cat(zs, 1)

    def _prior(self, i: int, above: list[Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        if not above:
            return torch.zeros_like(like), torch.zeros_like(like)
        mean, log_var = self.down[i](above[0]).chunk(2, 1)
        return mean, log_var.clamp(-6, 6)


def ladder_sizes(latent: int, levels: int) -> list[int]:
    """`latent` at the lowest level, half as many in each above."""
    if not 1 <= levels <= 4 or latent < 2 ** (levels - 1):
        raise BadInput(f"model.levels={levels}: 1 to 4, and model.latent halves at each of them")
    return [latent // 2**i for i in range(levels)]


def merge(
    mean: Tensor, log_var: Tensor, p_mean: Tensor, p_log_var: Tensor
) -> tuple[Tensor, Tensor]:
    """The product of two Gaussians: precisions add, means are weighed by them."""
    precision, p_precision = (-log_var).exp(), (-p_log_var).exp()
    total = precision + p_precision
    return (mean * precision + p_mean * p_precision) / total, -total.log()


def kl_of_gaussians(mean: Tensor, log_var: Tensor, p_mean: Tensor, p_log_var: Tensor) -> Tensor:
    """`KL(q || p)` of diagonal Gaussians, `(B,)`."""
    shifted = (mean - p_mean) * (-0.5 * p_log_var).exp()
    return kl_by_dim(shifted, log_var - p_log_var).sum(1)
