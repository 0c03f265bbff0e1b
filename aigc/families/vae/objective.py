"""Variational autoencoders: the evidence lower bound and its importance-weighted tightening.

Notation of Kingma & Welling 2014: encoder `q(z | x)`, a diagonal Gaussian `(mean, log_var)`;
decoder `p(x | z)`; prior `p(z)` a standard normal.
"""

from math import log, pi

import torch
from torch import Tensor


def split_posterior(out: Tensor) -> tuple[Tensor, Tensor]:
    """Encoder output `(B, 2 C, *S)` to flat `mean, log_var (B, C * prod(S))`, the latter kept in
    a range that cannot overflow."""
    mean, log_var = (half.flatten(1) for half in out.chunk(2, dim=1))
    return mean, log_var.clamp(-14, 6)


def reparameterize(mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
    """`z = mean + sd * eps`."""
    return mean + (0.5 * log_var).exp() * eps


def kl_to_prior(mean: Tensor, log_var: Tensor) -> Tensor:
    """`KL(q(z | x) || N(0, I))` of each example `(B,)` (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)


def log_normal(z: Tensor, mean: Tensor | float, log_var: Tensor | float) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the last axis."""
    log_var = torch.as_tensor(log_var, device=z.device, dtype=z.dtype)
    quadratic = (z - mean) ** 2 / log_var.exp()
    return -0.5 * (quadratic + log_var + log(2 * pi)).sum(-1)


def importance_bound(log_weights_KB: Tensor) -> Tensor:
    """`log 1/K sum_k w_k` for `w = p(x, z) / q(z | x)`: at most `log p(x)` on average, and
    closer with `K` (Burda et al. 2016, eq. 8). `(K, B)` to `(B,)`."""
    return torch.logsumexp(log_weights_KB, dim=0) - log(len(log_weights_KB))
