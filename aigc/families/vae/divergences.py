"""Objectives that weigh parts of the KL, or replace it: total correlation, moments, MMD."""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.families.vae.objective import Cost, Draws, fixed, log_normal, log_normal_by_dim


def decompose(z: Tensor, mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index-code mutual information, total correlation and dimension-wise KL to `N(0, I)`
    (Chen et al. 2018, eq. 2), which sum to `log q(z | x) - log p(z)`.

    `q(z)` is the mixture of the batch's posteriors. The size of the data set, by which minibatch
    weighted sampling scales it, shifts the three by constants and no gradient.
    """
    log_q_zx = log_normal(z, mean, log_var)
    pairs_BBL = log_normal_by_dim(z[:, None], mean[None], log_var[None])
    log_q_z = pairs_BBL.sum(2).logsumexp(1) - log(len(z))
    log_prod_q = (pairs_BBL.logsumexp(1) - log(len(z))).sum(1)
    log_p = log_normal(z, 0.0, 0.0)
    parts = log_q_zx - log_q_z, log_q_z - log_prod_q, log_prod_q - log_p
    return parts[0].mean(), parts[1].mean(), parts[2].mean()


@dataclass(frozen=True)
class TotalCorrelation:
    """beta-TC-VAE: the ELBO with a total correlation that counts `weight` times (Chen et al. 2018,
    eq. 4)."""

    weight: float = 6.0
    k: ClassVar[int] = 1
    joint: ClassVar[bool] = True  # over the batch

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """The other parts of the KL count `beta` times."""
        _, tc, _ = decompose(draws.z[0], *draws.gaussian("tc"))
        value = draws.elbo(beta) + (self.weight - 1) * tc / draws.dims
        return value, {"total_correlation": tc.detach() / draws.dims}


class Factor(nn.Module):
    """FactorVAE: the ELBO and `gamma` times a total correlation that a discriminator estimates
    between latents and latents shuffled over the batch (Kim & Mnih 2018, algorithm 2).

    The discriminator learns in the same step, from the other half of the batch.
    """

    k, joint = 1, True

    def __init__(self, size: int, gamma: float = 10.0, width: int = 256, depth: int = 3):
        super().__init__()
        self.gamma = gamma
        layers: list[nn.Module] = [nn.Linear(size, width), nn.LeakyReLU(0.2)]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, draws: Draws, beta: float, done: float) -> Cost:
        """Outside training the discriminator's own loss is left out."""
        z, other = draws.z[0].chunk(2) if len(draws.z[0]) > 1 else (draws.z[0], draws.z[0])
        tc = fixed(self.net, z).mean()
        value = draws.elbo(beta) + self.gamma * tc / draws.dims
        logs = {"total_correlation": tc.detach() / draws.dims}
        if self.training:
            joint, shuffled = self.net(z.detach()), self.net(permute_dims(other.detach()))
            own = 0.5 * (F.softplus(-joint).mean() + F.softplus(shuffled).mean())
            value, logs["discriminator"] = value + own, own.detach()
        return value, logs


def permute_dims(z: Tensor) -> Tensor:
    """Each latent shuffled over the batch by itself: a draw from the product of the marginals
    (Kim & Mnih 2018, algorithm 1)."""
    order = torch.rand_like(z).argsort(0)
    return z.gather(0, order)


@dataclass(frozen=True)
class DIP:
    """DIP-VAE: the ELBO and the distance of a covariance of latents from the identity (Kumar et
    al. 2018, eq. 6 and 7); of the posterior means (`kind` 1) or of the latents (2)."""

    kind: int = 1
    off_diagonal: float = 10.0
    diagonal: float = 100.0
    k: ClassVar[int] = 1
    joint: ClassVar[bool] = True  # over the batch

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """Weights are a whole example's."""
        mean, log_var = draws.gaussian("dip")
        cov = torch.cov(mean.T, correction=0).view(mean.shape[1], mean.shape[1])
        if self.kind == 2:
            cov = cov + log_var.exp().mean(0).diag()
        diagonal = cov.diagonal()
        off = (cov - diagonal.diag()).square().sum()
        penalty = self.off_diagonal * off + self.diagonal * (diagonal - 1).square().sum()
        return draws.elbo(beta) + penalty / draws.dims, {"dip": penalty.detach() / draws.dims}


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Inverse multiquadratics of seven scales around `2 L`, the squared distance of two draws
    from the prior: `(M, N)` (Tolstikhin et al. 2018, section 4)."""
    squared = (a[:, None] - b[None]).square().sum(2)
    scales = [s * 2 * a.shape[1] for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
    return sum(c / (c + squared) for c in scales)


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy of two sets of as many rows (Gretton et al. 2012,
    eq. 3)."""
    pairs = max(len(a) * (len(a) - 1), 1)
    within = [(k.sum() - k.diagonal().sum()) / pairs for k in (kernel(a, a), kernel(b, b))]
    return within[0] + within[1] - 2 * kernel(a, b).mean()


@dataclass(frozen=True)
class InfoVAE:
    """`-log p(x | z) + (1 - alpha) KL + (alpha + weight - 1) MMD(q(z), p(z))` (Zhao et al. 2017,
    eq. 6); without any KL at `alpha = 1`, which is the Wasserstein autoencoder (Tolstikhin et al.
    2018)."""

    alpha: float = 0.0
    weight: float = 100.0
    k: ClassVar[int] = 1
    joint: ClassVar[bool] = True  # over the batch

    def __call__(self, draws: Draws, beta: float, done: float) -> Cost:
        """`beta` weighs what there is of the KL."""
        gap = mmd(draws.z[0], draws.prior())
        value = draws.elbo(beta * (1 - self.alpha))
        value = value + (self.alpha + self.weight - 1) * gap / draws.dims
        return value, {"mmd": gap.detach()}
