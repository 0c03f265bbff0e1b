"""How a critic teaches a generator of tokens, which no gradient passes: two estimators of it.

`judge(one_hot (B, V, T)) -> scores (B, 1)` is the critic. A token is `argmax(logits + noise)` with
Gumbel noise, which draws it from `softmax(logits)`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput

Judge = Callable[[Tensor], Tensor]


def one_hot(ids: Tensor, vocab: int) -> Tensor:
    """Tokens `(B, T)` to `(B, V, T)`."""
    return F.one_hot(ids, vocab).float().mT


def gumbel(u: Tensor) -> Tensor:
    """Uniform numbers in (0, 1) to Gumbel noise."""
    return -(-u.log()).log()


@torch.no_grad()
def write(
    net: nn.Module,
    noise: Callable[[int], Tensor],
    length: int,
    y: Tensor | None,
    allowed: Tensor | None,
) -> Tensor:
    """Tokens `(B, length)`, one after the other; `noise(t) (B, V)` is that of token `t`."""
    ids, cache = None, None
    for t in range(length):
        g = noise(t)
        if ids is None:
            ids = torch.zeros(len(g), length, dtype=torch.long, device=g.device)
            cache = net.cache(len(g))
        logits = net(ids[:, max(t - 1, 0) : t], y, cache)[:, -1].float()
        if allowed is not None:
            logits = logits.masked_fill(~allowed[t], float("-inf"))
        ids[:, t] = (logits + g).argmax(-1)
    return ids


class Gumbel(nn.Module):
    """Straight-through Gumbel-softmax (Jang et al. 2017; Kusner & Hernandez-Lobato 2016): the
    critic sees the tokens, the gradient is that of `softmax((logits + noise) / tau)`.

    It reaches each token's own law, not the laws of later tokens through it.
    """

    def __init__(self, tau: float = 1.0):
        super().__init__()
        if tau <= 0:
            raise BadInput(f"model.estimator.tau={tau}: above 0")
        self.tau = tau

    def forward(self, logits: Tensor, noise: Tensor, ids: Tensor, judge: Judge) -> Tensor:
        """Logits and noise `(B, T, V)` of the tokens `ids (B, T)` to a scalar to minimise."""
        soft = ((logits + noise) / self.tau).softmax(-1).mT
        return F.softplus(-judge(one_hot(ids, logits.shape[-1]) + soft - soft.detach())).mean()


class Reinforce(nn.Module):
    """The score-function estimator (Williams 1992; SeqGAN, Yu et al. 2017): the reward of a text is
    its score, less a moving average, over a moving standard deviation."""

    def __init__(self, decay: float = 0.95):
        super().__init__()
        if not 0 <= decay < 1:
            raise BadInput(f"model.estimator.decay={decay}: at least 0, below 1")
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("square", torch.ones(()))

    def forward(self, logits: Tensor, noise: Tensor, ids: Tensor, judge: Judge) -> Tensor:
        """Logits `(B, T, V)` of the tokens `ids (B, T)` to a scalar whose gradient is minus that of
        the expected reward, in units of its deviation."""
        with torch.no_grad():
            reward = judge(one_hot(ids, logits.shape[-1]))[:, 0].float()
            advantage = (reward - self.mean) / (self.square - self.mean**2).clamp(min=1e-4).sqrt()
            self.mean.lerp_(reward.mean(), 1 - self.decay)
            self.square.lerp_(reward.square().mean(), 1 - self.decay)
        log_p = logits.log_softmax(-1).gather(2, ids[..., None])[..., 0].sum(1)
        return -(advantage * log_p).mean()
