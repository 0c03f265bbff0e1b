"""Where a GAN's latents come from: the prior, or the prior corrected by the critic.

The score of a critic trained by a logistic loss is `log p(x) / p_G(x)` at its optimum: what
rejection, a Markov chain or Langevin dynamics need to come closer to the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.rng import Rng


@dataclass(frozen=True)
class Prior:
    """`z ~ N(0, I)`."""

    def z(self, latent: int, rng: Rng) -> Tensor:
        """Latents `(B, latent)`."""
        return rng.normal(latent)


@dataclass(frozen=True)
class Truncation(Prior):
    """Normal latents cut at `threshold` (Brock et al. 2019): fewer modes, cleaner samples."""

    threshold: float = 1.0

    def __post_init__(self):
        if self.threshold <= 0:
            raise BadInput(f"sampler.threshold={self.threshold}: above 0")

    def z(self, latent: int, rng: Rng) -> Tensor:
        """Latents `(B, latent)`, by inverting the normal's distribution function."""
        edge = torch.special.ndtr(torch.tensor(self.threshold, dtype=torch.float64))
        u = (1 - edge) + rng.uniform(latent) * (2 * edge - 1)
        return torch.special.ndtri(u).float()


@dataclass(frozen=True)
class Verdict:
    """What the critic says of latents: `score(z (B, latent)) -> (B,)`, and `typical()`, its scores
    of the generator's data at latents that are the same for every batch."""

    score: Callable[[Tensor], Tensor]
    typical: Callable[[], Tensor]


@dataclass(frozen=True)
class Judged(Prior, ABC):
    """Latents of the prior, chosen by the critic."""

    @abstractmethod
    def choose(self, latent: int, rng: Rng, verdict: Verdict) -> Tensor:
        """Latents `(B, latent)`; row `i` draws from its own stream alone."""


@dataclass(frozen=True)
class Rejection(Judged):
    """Discriminator rejection sampling (Azadi et al. 2019): a proposal is kept with probability
    `sigmoid(F - gamma)`, where `exp(score - M) = sigmoid(F)` and `M` is the largest typical score.

    `gamma` is 0, which is exact, or that `percentile` of the typical `F`: lower keeps more. Where
    none of `proposals` is kept, the one that came nearest is.
    """

    proposals: int = 64
    percentile: float | None = None

    def __post_init__(self):
        if self.proposals < 1:
            raise BadInput(f"sampler.proposals={self.proposals}: at least 1")
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise BadInput(f"sampler.percentile={self.percentile}: 0 to 100")

    def choose(self, latent: int, rng: Rng, verdict: Verdict) -> Tensor:
        """The first proposal that is kept."""
        typical = verdict.typical().double()
        ceiling, gamma = typical.max(), 0.0
        if self.percentile is not None:
            gamma = _logit_of_exp(typical - ceiling).quantile(self.percentile / 100)
        kept, margin = rng.normal(latent), torch.full((len(rng),), -torch.inf, device=rng.device)
        for _ in range(self.proposals):
            z, log_u = rng.normal(latent), rng.uniform(1)[:, 0].log()
            F_z = _logit_of_exp(verdict.score(z).double() - ceiling) - gamma
            found = F.logsigmoid(F_z) - log_u  # at least 0: keep
            better = (margin < 0) & (found > margin)
            kept, margin = torch.where(better[:, None], z, kept), torch.where(better, found, margin)
            if (margin >= 0).all():
                break
        return kept


@dataclass(frozen=True)
class MetropolisHastings(Judged):
    """A chain of independent proposals (Turner et al. 2019): `z'` is taken with probability
    `min(1, exp(score(z') - score(z)))`. It starts from the prior."""

    steps: int = 64

    def __post_init__(self):
        if self.steps < 1:
            raise BadInput(f"sampler.steps={self.steps}: at least 1")

    def choose(self, latent: int, rng: Rng, verdict: Verdict) -> Tensor:
        """The last state of the chain."""
        z = rng.normal(latent)
        score = verdict.score(z)
        for _ in range(self.steps):
            proposal, log_u = rng.normal(latent), rng.uniform(1)[:, 0].log()
            other = verdict.score(proposal)
            taken = log_u < other - score
            z, score = torch.where(taken[:, None], proposal, z), torch.where(taken, other, score)
        return z


@dataclass(frozen=True)
class Langevin(Judged):
    """Discriminator-driven latent sampling (Che et al. 2020): Langevin dynamics in the energy
    `|z|**2 / 2 - score(z)`."""

    steps: int = 50
    step_size: float = 0.01

    def __post_init__(self):
        if self.steps < 1 or self.step_size <= 0:
            raise BadInput(
                f"sampler.steps={self.steps}, step_size={self.step_size}: at least 1, above 0"
            )

    def choose(self, latent: int, rng: Rng, verdict: Verdict) -> Tensor:
        """The last state; a gradient a step."""
        z = rng.normal(latent)
        for _ in range(self.steps):
            with torch.enable_grad():
                z = z.detach().requires_grad_(True)
                energy = z.square().sum() / 2 - verdict.score(z).sum()
                (gradient,) = torch.autograd.grad(energy, z)
            z = z.detach() - self.step_size / 2 * gradient
            z = z + self.step_size**0.5 * rng.normal(latent)
        return z


def _logit_of_exp(a: Tensor) -> Tensor:
    """`F` with `sigmoid(F) = exp(a)`, for `a < 0` (Azadi et al. 2019, eq. 6)."""
    a = a.clamp(max=-1e-6)
    return a - torch.log(-torch.expm1(a))
