"""Picking the next token, and the one decoding loop in which all picks run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Ahead, Rng
from aigc.families.autoregressive.objective import mask_logits


@dataclass(frozen=True)
class Request:
    """What is asked of a decoder: `rows` sequences of `length` tokens from a CausalLM.

    `prompt (rows, t0)` holds the first tokens; `allowed (length, V)` what may occur where; the
    token `end` closes a sequence, which it then fills (-1: none does). `net` has `cache(batch)`.
    """

    net: Any
    rows: int
    length: int
    y: Tensor | None = None
    allowed: Tensor | None = None
    prompt: Tensor | None = None
    end: int = -1

    @property
    def start(self) -> int:
        """Where decoding begins: the length of the prompt."""
        return 0 if self.prompt is None else self.prompt.shape[1]

    def blank(self, device: torch.device) -> Tensor:
        """Ids `(rows, length)`: the prompt, then `end`, or zeros."""
        ids = torch.full((self.rows, self.length), max(self.end, 0), device=device)
        if self.start:
            ids[:, : self.start] = self.prompt
        return ids

    def ended(self, ids: Tensor) -> Tensor:
        """Which sequences `(..., t)` hold `end` after the prompt."""
        return (ids[..., self.start :] == self.end).any(-1)

    def times(self, copies: int) -> "Request":
        """Every row `copies` times, one after the other."""
        tensors = {
            name: None if x is None else x.repeat_interleave(copies, 0)
            for name, x in (("y", self.y), ("prompt", self.prompt))
        }
        return replace(self, rows=self.rows * copies, **tensors)


class Stream:
    """A CausalLM reading sequences as they grow: only new tokens are computed, the rest is
    cached."""

    def __init__(self, request: Request):
        self.request, self.cache = request, request.net.cache(request.rows)
        self.read, self.y = 0, request.y

    def __call__(self, ids: Tensor) -> Tensor:
        """Logits after each token of `ids (B, t)` not read before, `(B, new, V)`; the last ones
        are of token `t`."""
        logits = self.request.net(ids[:, self.read :], self.y, self.cache)
        self.read = ids.shape[1]
        allowed = self.request.allowed
        if allowed is not None:
            allowed = allowed[self.read + 1 - logits.shape[1] : self.read + 1]
        return mask_logits(logits, allowed)

    def next(self, ids: Tensor) -> Tensor:
        """Logits `(B, V)` of the token after `ids (B, t)`."""
        return self(ids)[:, -1]

    def back(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.read = min(self.read, length)
        # ... and the start, with what comes before it.
        self.cache.length = self.read + 1 + getattr(self.request.net, "before", 0)

    def select(self, rows: Tensor) -> None:
        """Go on with these rows of the batch (repeats allowed)."""
        select(self.cache, rows)
        if self.y is not None:
            self.y = self.y[rows]


def select(cache: Any, rows: Tensor) -> None:
    """Keep rows of a cache by its own `select`, or of its tensors `(layers, B, ...)`."""
    if hasattr(cache, "select"):
        cache.select(rows)
        return
    for name, value in vars(cache).items():
        if isinstance(value, Tensor):
            setattr(cache, name, value[:, rows])


class Pick(ABC):
    """A law of the next token; what it picks is drawn from that law."""

    @abstractmethod
    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """The law `(B, V)` in doubles, given the logits and the tokens so far."""

    def __call__(self, logits_BV: Tensor, rng: Rng, ids_BT: Tensor | None = None) -> Tensor:
        """Token ids `(B,)`."""
        return rng.categorical(self.probs(logits_BV, ids_BT))


@dataclass(frozen=True)
class Greedy(Pick):
    """The most probable token."""

    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """All mass on the mode."""
        probs = torch.zeros_like(logits_BV, dtype=torch.float64)
        return probs.scatter_(1, logits_BV.argmax(-1, keepdim=True), 1.0)


@dataclass(frozen=True)
class Temperature(Pick):
    """Sampling from `softmax(logits / temperature)`; 1 is the model itself."""

    temperature: float = 1.0

    def __post_init__(self):
        if self.temperature <= 0:
            raise BadInput(f"sampler.temperature={self.temperature}: above 0 (greedy is a sampler)")

    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """Sharper below 1, flatter above."""
        if self.temperature == 1:
            return logits_BV.softmax(-1, torch.float64)
        return (logits_BV.double() / self.temperature).softmax(-1)


@dataclass(frozen=True)
class TopK(Temperature):
    """Temperature sampling among the `k` most probable tokens (Fan et al. 2018)."""

    k: int = 40

    def __post_init__(self):
        super().__post_init__()
        if self.k < 1:
            raise BadInput(f"sampler.k={self.k}: at least 1")

    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """No mass below the k-th logit."""
        kth = logits_BV.topk(min(self.k, logits_BV.shape[-1])).values[:, -1:]
        return super().probs(logits_BV.masked_fill(logits_BV < kth, float("-inf")))


@dataclass(frozen=True)
class TopP(Temperature):
    """Temperature sampling in the smallest set of tokens of mass `p` (Holtzman et al. 2020)."""

    p: float = 0.95

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.p <= 1:
            raise BadInput(f"sampler.p={self.p}: above 0, at most 1")

    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """No mass outside the nucleus."""
        probs, order = super().probs(logits_BV).sort(descending=True)
        before = probs.cumsum(-1) - probs  # mass of the tokens ahead of this one
        kept = probs.masked_fill(before >= self.p, 0.0)
        kept = kept / kept.sum(-1, keepdim=True)
        return torch.zeros_like(kept).scatter_(1, order, kept)


class Search(ABC):
    """A strategy that looks further than the next token."""

    @abstractmethod
    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """Sequences `(rows, t)` on their way; the last ones are whole."""


@torch.no_grad()
def decode(request: Request, pick: Pick, rng: Rng) -> Iterator[Tensor]:
    """Sequences `(rows, t)` growing to `length`, or until all have ended."""
    ids, stream = request.blank(rng.device), Stream(request)
    ended = torch.zeros(request.rows, dtype=torch.bool, device=rng.device)
    rng = Ahead(rng, request.length - request.start)
    for done in range(request.start, request.length):
        so_far = ids[:, :done]
        logits = stream.next(so_far)
        with torch.inference_mode():  # a third less; a foreign net may keep what it makes in it
            token = pick(logits, rng, so_far)
        if request.end >= 0:
            token = token.masked_fill(ended, request.end)
            ended |= token == request.end
        ids[:, done] = token
        if request.end >= 0 and ended.all():
            break
        yield ids[:, : done + 1]
    yield ids
