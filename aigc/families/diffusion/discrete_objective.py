"""Diffusion of tokens: two ways to corrupt them, and the bound on the likelihood for both.

By time `t` in [0, 1] a token keeps its value with probability `alpha(t)` and is drawn from a fixed
law else: `q(x_t | x_0) = alpha x_0 + (1 - alpha) prior` (D3PM, Austin et al. 2021). As `alpha` is 1
at the start and 0 at the end, the bound has no term but that of the reverse process. The network
gives `law (B, T, V)`, its `p(x_0 | x_t)` of each token, and the reverse process is the average of
`q(x_s | x_t, x_0)` under it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LogLaw = Callable[[Tensor, Tensor], Tensor]  # (x_t, t) -> log p(x_0 | x_t), (B, T, V)


@dataclass(frozen=True)
class Linear:
    """`alpha = 1 - t`: the schedule of D3PM's absorbing process, "log-linear" in SEDD and MDLM."""

    def __call__(self, t: Tensor) -> Tensor:
        """The chance to be kept until `t`."""
        return 1 - t

    def decay(self, t: Tensor) -> Tensor:
        """`-d alpha / dt`."""
        return torch.ones_like(t)


@dataclass(frozen=True)
class Cosine:
    """`alpha = 1 - cos(pi / 2 (1 - t))` (MDLM): few tokens are lost early."""

    def __call__(self, t: Tensor) -> Tensor:
        """The chance to be kept until `t`."""
        return 2 * (pi / 4 * (1 - t)).sin() ** 2  # exact near t = 1 too

    def decay(self, t: Tensor) -> Tensor:
        """`-d alpha / dt`."""
        return pi / 2 * (pi / 2 * (1 - t)).sin()


class Process(nn.Module):
    """What both processes share: corrupting, and stepping back. `levels (T,)` or `(1,)` counts
    the tokens that may stand at a position."""

    timed = True  # whether the best prediction depends on the time beside the tokens

    def __init__(self, vocab: int, allowed: Tensor | None, alpha: Linear | Cosine):
        super().__init__()
        self.vocab, self.states, self.alpha = vocab, vocab, alpha
        allowed = torch.ones(1, vocab, dtype=torch.bool) if allowed is None else allowed
        self.register_buffer("levels", allowed.sum(1), persistent=False)

    def noise(self, u: Tensor) -> Tensor:
        """Tokens from the prior, by uniform numbers `u (B, T)`."""
        return (u * self.levels).long()

    def chance(self, x: Tensor) -> Tensor:
        """The prior's probability of each token of `x (B, T)`."""
        return (1 / self.levels).expand(x.shape)

    def carried(self, x_0: Tensor, x_t: Tensor) -> Tensor:
        """The guess `x_0` with what `x_t` leaves no doubt about."""
        return x_0

    def informed(self, logits: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """`log p(x_0 | x_t)` plus a constant, of `logits (B, T, V)` that speak of the other tokens:
        what a token says of itself is known, `q(x_t | x_0)` (D3PM eq. 4)."""
        return logits

    def corrupt(self, x_0: Tensor, t: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """`x_t` of `x_0 (B, T)` at times `t (B,)`, by uniform numbers `u, v (B, T)`."""
        return torch.where(u < self.alpha(t)[:, None], x_0, self.noise(v))

    def step(self, x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """`x_s` from the posterior `q(x_s | x_t, x_0)`, `s < t` (D3PM eq. 3).

        Its weights by what happened: nothing since `s`; noise after `s`, data before; noise twice.
        """
        x_0 = self.carried(x_0, x_t)
        alpha_s = self.alpha(s)[:, None]
        kept, prior = self.alpha(t)[:, None] / alpha_s, self.chance(x_t)
        still = kept * (alpha_s * (x_t == x_0) + (1 - alpha_s) * prior)
        data = still + (1 - kept) * prior * alpha_s
        total = data + (1 - kept) * prior * (1 - alpha_s)
        u = u * total  # a given token has no weight at all at t = 1, and stays
        return torch.where(u <= still, x_t, torch.where(u < data, x_0, self.noise(v)))


class Absorbing(Process):
    """Tokens turn into one more state, the mask, and stay there (MDLM, Sahoo et al. 2024).

    How many are masked is all that time says, so the network needs none (Ou et al. 2024).
    """

    timed = False

    def __init__(self, vocab: int, allowed: Tensor | None, alpha: Linear | Cosine):
        super().__init__(vocab, allowed, alpha)
        self.states, self.mask = vocab + 1, vocab

    def noise(self, u: Tensor) -> Tensor:
        """The mask."""
        return torch.full(u.shape, self.mask, device=u.device)

    def chance(self, x: Tensor) -> Tensor:
        """One for the mask."""
        return (x == self.mask).double()

    def carried(self, x_0: Tensor, x_t: Tensor) -> Tensor:
        """A token that is not masked is the token itself."""
        return torch.where(x_t == self.mask, x_0, x_t)

    def nats(self, log_law: LogLaw, x_0: Tensor, u: Tensor) -> Tensor:
        """The integral of MDLM eq. 10 over time is a sum over the number `n` of masks, in which
        `alpha` drops out (Ou et al. 2024): `T / n` times the nats of `n` masked tokens.

        Drawing `n` instead of a time halves the variance.
        """
        length = x_0.shape[1]
        n = (u * length).floor().clamp(max=length - 1) + 1
        rank = torch.rand(x_0.shape, device=x_0.device).argsort(1).argsort(1)
        x_t = x_0.masked_fill(rank < n[:, None], self.mask)
        return length / n * self._masked(log_law(x_t, n / length), x_0, x_t).sum(1)

    def kl(self, log_law: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """`KL(q(x_s | x_t, x_0) | p(x_s | x_t))` of each token, `(B, T)` (MDLM eq. 8)."""
        weight = (self.alpha(s) - self.alpha(t)) / (1 - self.alpha(t))
        return weight[:, None].to(log_law) * self._masked(log_law, x_0, x_t)

    def _masked(self, log_law: Tensor, x_0: Tensor, x_t: Tensor) -> Tensor:
        nats = -log_law.gather(2, x_0[..., None])[..., 0]
        return nats.masked_fill(x_t != self.mask, 0)


class Uniform(Process):
    """Tokens turn into any token that may stand at their position, with equal chance (D3PM)."""

    def __init__(self, vocab: int, allowed: Tensor | None, alpha: Linear | Cosine):
        super().__init__(vocab, allowed, alpha)
        prior = torch.arange(vocab) < self.levels[:, None]
        self.register_buffer("prior", prior / self.levels[:, None], persistent=False)

    def informed(self, logits: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """`logits` with `log(q(x_t | x_0 = x_t) / q(x_t | another))` added at `x_t`."""
        alpha = self.alpha(t)[:, None]
        gain = torch.log1p(alpha * self.levels / (1 - alpha))
        return logits.scatter_add(
            2, x_t[..., None], gain[..., None].expand(*x_t.shape, 1).to(logits)
        )

    def nats(self, log_law: LogLaw, x_0: Tensor, u: Tensor) -> Tensor:
        """The rate at a random time."""
        t = u.clamp(1e-5, 1 - 1e-5)
        x_t = self.corrupt(x_0, t, *torch.rand(2, *x_0.shape, device=x_0.device))
        return self.rate(log_law(x_t, t), x_0, x_t, t).sum(1)

    def rate(self, log_law: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Nats a token and unit of time, `(B, T)`: the score entropy (SEDD, Lou et al. 2024,
        theorem 3.6) of the ratios `p(x_t = j) / p(x_t)` that the law implies."""
        alpha = self.alpha(t)[:, None]
        wanted = self._ratios(self._one_hot(x_0, log_law), x_t, alpha, alpha)
        ratios = self._ratios(log_law.exp(), x_t, alpha, alpha)
        nats = _divergence(wanted, ratios).scatter(2, x_t[..., None], 0.0).sum(2)
        return self.alpha.decay(t)[:, None] / (alpha * (1 - alpha)) * nats

    def kl(self, log_law: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """`KL(q(x_s | x_t, x_0) | p(x_s | x_t))` of each token, `(B, T)` (D3PM eq. 1)."""
        wanted = self.reverse(self._one_hot(x_0, log_law), x_t, t, s)
        return _divergence(wanted, self.reverse(log_law.exp(), x_t, t, s)).sum(2)

    def reverse(self, law: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """`p(x_s = j | x_t) = q(x_t | x_s = j) sum_k law_k q(x_s = j | k) / q(x_t | k)`."""
        alpha, alpha_s = self.alpha(t)[:, None], self.alpha(s)[:, None]
        kept, index = alpha / alpha_s, x_t[..., None]
        changed, wrong = (1 - kept) / self.levels, (1 - alpha) / self.levels
        p = self._ratios(law, x_t, alpha, alpha_s) * (changed / wrong)[..., None]
        return p.scatter(2, index, p.gather(2, index) * ((kept + changed) / changed)[..., None])

    def _ratios(self, law: Tensor, x_t: Tensor, alpha: Tensor, alpha_s: Tensor) -> Tensor:
        """`sum_k law_k q(x_s = j | k) / q(x_t | k)` times `(1 - alpha) / levels`, which bounds it:
        `(B, T, V)`."""
        index, wrong = x_t[..., None], (1 - alpha) / self.levels
        right = law.gather(2, index) * (wrong / (alpha + wrong))[..., None]
        law = law.scatter(2, index, right)
        alpha_s = alpha_s[..., None]
        return alpha_s * law + (1 - alpha_s) * self.prior * law.sum(2, keepdim=True)

    def _one_hot(self, x: Tensor, like: Tensor) -> Tensor:
        return F.one_hot(x, self.vocab).to(like.dtype)


PROCESSES = {"absorbing": Absorbing, "uniform": Uniform}


def _divergence(q: Tensor, p: Tensor) -> Tensor:
    """`p - q + q log(q / p)`, each at least 0: sums to KL where both sum to one."""
    return p - q + torch.xlogy(q, q) - torch.xlogy(q, p.clamp(min=1e-30))


def nats_at(
    log_law: LogLaw, process: Process, x_0: Tensor, u: Tensor, steps: int | None = None
) -> Tensor:
    """One term of the bound on `-log p(x_0)`, `(B,)`: its mean over uniform `u (B,)` is the bound
    of `steps` steps (D3PM eq. 1), or of continuous time (MDLM eq. 10, SEDD theorem 3.6)."""
    if steps is None:
        return process.nats(log_law, x_0, u)
    k = (u * steps).floor().clamp(max=steps - 1)
    t, s = (k + 1) / steps, k / steps
    x_t = process.corrupt(x_0, t, *torch.rand(2, *x_0.shape, device=x_0.device))
    return steps * process.kl(log_law(x_t, t), x_0, x_t, t, s).sum(1)


def bound(
    log_law: LogLaw, process: Process, x_0: Tensor, terms: int, steps: int | None = None
) -> Tensor:
    """The bound in nats, `(B,)`, by `terms` times for each example, one from each of as many equal
    strata."""
    total = 0.0
    for k in range(terms):
        u = (k + torch.rand(len(x_0), device=x_0.device)) / terms
        total = total + nats_at(log_law, process, x_0, u, steps).double()
    return total / terms
