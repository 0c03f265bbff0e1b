"""Speculative decoding: a small model proposes, the large one checks several tokens in one call.

What position `t` of a row draws is fixed before decoding (three numbers: proposal, check,
replacement), so that the result depends neither on how far the draft looks ahead nor on the other
rows of the batch, which go at the pace of the slowest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.autoregressive.processed import Processed
from aigc.families.autoregressive.sampling import Pick, Request, Search, Stream


@dataclass(frozen=True)
class Speculative(Search):
    """Draws of the model itself, `ahead` tokens proposed by `draft` at a time (Leviathan et al.
    2023; Chen et al. 2023).

    `draft` is a CausalLM on the same tokens. It changes the speed, never the law.
    """

    draft: Any = None
    ahead: int = 4
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self):
        if self.ahead < 1:
            raise BadInput(f"sampler.ahead={self.ahead}: at least 1")

    @torch.no_grad()
    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """Sequences that grow by one to `ahead` tokens."""
        if self.draft is None:
            raise BadInput("sampler speculative needs sampler.draft=RUN, a smaller run")
        pick = Processed(self.temperature, self.top_k, self.top_p)
        ids, numbers = request.blank(rng.device), rng.uniform(request.length, 3)
        target, draft = Stream(request), Stream(replace(request, net=self.draft))
        done = request.start
        while done < request.length:
            stop = min(done + self.ahead, request.length)
            q = _propose(draft, pick, ids, numbers, done, stop)
            p = _laws(target, pick, ids, done, stop)
            if p.shape != q.shape:
                raise BadInput(f"sampler.draft has {q.shape[2]} tokens, the model {p.shape[2]}")
            done = _check(p, q, ids, numbers, done, request)
            target.back(done - 1)
            draft.back(done - 1)
            yield ids[:, :done]


def _propose(
    draft: Stream, pick: Pick, ids: Tensor, numbers: Tensor, done: int, stop: int
) -> Tensor:
    """Write proposals into `ids[:, done:stop]`; their laws `(B, n, V)`."""
    laws = []
    for t in range(done, stop):
        laws.append(pick.probs(draft.next(ids[:, :t]), ids[:, :t]))
        ids[:, t] = invert(laws[-1], numbers[:, t, 0])
    return torch.stack(laws, 1)


def _laws(target: Stream, pick: Pick, ids: Tensor, done: int, stop: int) -> Tensor:
    """The model's laws at `done` to `stop`, in one call, `(B, n, V)`."""
    logits = target(ids[:, : stop - 1])[:, done - stop :]
    return torch.stack([pick.probs(logits[:, t - done], ids[:, :t]) for t in range(done, stop)], 1)


def _check(p: Tensor, q: Tensor, ids: Tensor, numbers: Tensor, done: int, request: Request) -> int:
    """Accept with probability `min(1, p / q)`, else replace by a draw from `(p - q)+`; how many
    tokens stand in every row."""
    stop = done + p.shape[1]
    token = ids[:, done:stop, None]
    ratio = p.gather(2, token)[..., 0] / q.gather(2, token)[..., 0]
    taken = numbers[:, done:stop, 1] < ratio
    for t in range(done, stop):
        ended = request.ended(ids[:, :t])
        excess = (p[:, t - done] - q[:, t - done]).clamp(min=0)
        instead = invert(excess, numbers[:, t, 2])
        ids[:, t] = torch.where(taken[:, t - done], ids[:, t], instead)
        ids[:, t].masked_fill_(ended, request.end)
        if not (taken[:, t - done] | ended).all():
            return t + 1  # what follows was proposed after another token
    return stop


def invert(law: Tensor, u: Tensor) -> Tensor:
    """The token at which the cumulative sum of `law (B, V)`, normalised, passes `u (B,)`."""
    cdf = law.cumsum(-1)
    index = torch.searchsorted(cdf, (u * cdf[:, -1])[:, None], right=True)[:, 0]
    return index.clamp(max=law.shape[1] - 1)
