"""Contrastive search: probable tokens whose states do not repeat what has been said."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.autoregressive.sampling import Request, Search, Stream


@dataclass(frozen=True)
class Contrastive(Search):
    """Of the `k` most probable tokens the one with the largest `(1 - alpha) p - alpha max cos`,
    the largest cosine of its last hidden state with those before it (Su et al. 2022, eq. 5).

    The last hidden states are what leaves the network's module `norm`. The last token of the
    window, after which nothing is read, is the most probable one.
    """

    k: int = 4
    alpha: float = 0.6

    def __post_init__(self):
        if self.k < 1 or not 0 <= self.alpha <= 1:
            raise BadInput(f"sampler.k={self.k}, alpha={self.alpha}: at least 1, and 0 to 1")

    @torch.no_grad()
    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """Growing sequences."""
        ids, stream = request.blank(rng.device), Stream(request)
        with hidden_states(request.net) as last:
            logits = stream.next(ids[:, : request.start])
            past = F.normalize(last[-1].double(), dim=-1)
            for done in range(request.start, request.length):
                p, token = logits.double().softmax(-1).topk(min(self.k, logits.shape[-1]))
                chosen = torch.zeros_like(token[:, :1])
                if done + 1 < request.length:
                    logits, state = self._look_ahead(stream, ids, token, done, last)
                    near = (state @ past.transpose(1, 2)).amax(-1)
                    score = (1 - self.alpha) * p - self.alpha * near
                    chosen = score.masked_fill(p == 0, float("-inf")).argmax(1, keepdim=True)
                    stream.select((chosen + _first(token)).flatten())
                    logits = logits.take_along_dim(chosen[..., None], 1)[:, 0]
                    past = torch.cat([past, state.take_along_dim(chosen[..., None], 1)], 1)
                ended = request.ended(ids[:, :done])
                ids[:, done] = token.gather(1, chosen)[:, 0].masked_fill(ended, request.end)
                yield ids[:, : done + 1]

    def _look_ahead(
        self, stream: Stream, ids: Tensor, token: Tensor, done: int, last: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Read every candidate: the logits after it `(B, k, V)` and its state `(B, k, d)`."""
        k = token.shape[1]
        rows = torch.arange(len(ids), device=ids.device).repeat_interleave(k)
        trial = ids[rows, : done + 1]
        trial[:, done] = token.flatten()
        stream.select(rows)
        logits = stream.next(trial).view(len(ids), k, -1)
        return logits, F.normalize(last[-1][:, -1].double(), dim=-1).view(len(ids), k, -1)


@contextmanager
def hidden_states(net: Any) -> Iterator[list[Tensor]]:
    """A list whose last entry is what the last call of `net.norm` gave, `(B, new, d)`."""
    if not hasattr(net, "norm"):
        raise BadInput("sampler contrastive needs a network with a module 'norm', its last one")
    out: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> None:
        out[:] = [output]

    handle = net.norm.register_forward_hook(keep)
    try:
        yield out
    finally:
        handle.remove()


def _first(token: Tensor) -> Tensor:
    """Where each row's candidates begin in the flattened batch, `(B, 1)`."""
    return torch.arange(len(token), device=token.device)[:, None] * token.shape[1]
