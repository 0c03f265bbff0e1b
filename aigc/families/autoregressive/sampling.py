"""Picking the next token, and the one decoding loop in which all picks run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.autoregressive.objective import mask_logits

Pick = Callable[[Tensor, Rng], Tensor]


@dataclass(frozen=True)
class Greedy:
    """The most probable token."""

    def __call__(self, logits_BV: Tensor, rng: Rng) -> Tensor:
        """Token ids `(B,)`."""
        return logits_BV.argmax(-1)


@dataclass(frozen=True)
class Temperature:
    """Sampling from `softmax(logits / temperature)`; 1 is the model itself."""

    temperature: float = 1.0

    def __post_init__(self):
        if self.temperature <= 0:
            raise BadInput(f"sampler.temperature={self.temperature}: above 0 (greedy is a sampler)")

    def __call__(self, logits_BV: Tensor, rng: Rng) -> Tensor:
        """Token ids `(B,)`."""
        return rng.categorical((logits_BV.double() / self.temperature).softmax(-1))


@dataclass(frozen=True)
class TopK(Temperature):
    """Temperature sampling among the `k` most probable tokens (Fan et al. 2018)."""

    k: int = 40

    def __call__(self, logits_BV: Tensor, rng: Rng) -> Tensor:
        """Token ids `(B,)`."""
        kth = logits_BV.topk(min(self.k, logits_BV.shape[-1])).values[:, -1:]
        return super().__call__(logits_BV.masked_fill(logits_BV < kth, float("-inf")), rng)


@dataclass(frozen=True)
class TopP(Temperature):
    """Temperature sampling in the smallest set of tokens of mass `p` (Holtzman et al. 2020)."""

    p: float = 0.95

    def __call__(self, logits_BV: Tensor, rng: Rng) -> Tensor:
        """Token ids `(B,)`."""
        probs, order = (logits_BV.double() / self.temperature).softmax(-1).sort(descending=True)
        before = probs.cumsum(-1) - probs  # mass of the tokens ahead of this one
        kept = probs.masked_fill(before >= self.p, 0.0)
        return order.gather(1, rng.categorical(kept)[:, None])[:, 0]


@torch.no_grad()
def decode(
    net: Any,
    length: int,
    y: Tensor | None,
    pick: Pick,
    rng: Rng,
    allowed: Tensor | None = None,
    prompt: Tensor | None = None,
) -> Iterator[Tensor]:
    """Sequences `(B, t)` growing to `length`, with keys and values cached.

    `net` is a CausalLM with `cache(batch)`; `prompt (B, t0)` holds the first tokens.
    """
    ids = torch.empty(len(rng), length, dtype=torch.long, device=rng.device)
    done = 0 if prompt is None else prompt.shape[1]
    if done:
        ids[:, :done] = prompt
    cache = net.cache(len(rng))
    fresh = ids[:, :done]
    while done < length:
        logits = net(fresh, y, cache)[:, -1]
        if allowed is not None:
            logits = mask_logits(logits, allowed[done])
        ids[:, done] = pick(logits, rng)
        fresh = ids[:, done : done + 1]
        done += 1
        yield ids[:, :done]
