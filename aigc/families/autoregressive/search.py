"""Beam search, plain and diverse: the most probable sequences rather than draws."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.autoregressive.sampling import Request, Search, Stream

NEVER = float("-inf")


@dataclass(frozen=True)
class Beam(Search):
    """The best of `beams` sequences kept at every step, by `log p / tokens ** length_penalty`.

    Equal to `transformers.generate(num_beams=...)` with its default early stopping.
    """

    beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self):
        if self.beams < 1:
            raise BadInput(f"sampler.beams={self.beams}: at least 1")

    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """The running best, then the best."""
        for state in beam_search(request, rng, self.beams, 1, 0.0, self.length_penalty):
            yield state[:, 0]


@dataclass(frozen=True)
class DiverseBeam(Search):
    """Groups of beams, each charged `diversity` for every use of its next token by an earlier
    group (Vijayakumar et al. 2018, Hamming).

    Sample `i` is the best of group `i mod groups`.
    """

    groups: int = 4
    beams: int = 2
    diversity: float = 0.5
    length_penalty: float = 1.0

    def __post_init__(self):
        if self.beams < 1 or self.groups < 1:
            raise BadInput(f"sampler.beams={self.beams}, groups={self.groups}: at least 1")

    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """The best of each row's group."""
        group = (rng.index % self.groups)[:, None, None]
        sizes = self.beams, self.groups, self.diversity, self.length_penalty
        for state in beam_search(request, rng, *sizes):
            yield state.take_along_dim(group, 1)[:, 0]


class Finished:
    """The best closed sequences of each row, `(R, beams, T)`, by penalised score."""

    def __init__(self, ids: Tensor, penalty: float):
        self.ids, self.penalty = ids.clone(), penalty
        self.scores = torch.full(ids.shape[:2], NEVER, dtype=torch.float64, device=ids.device)
        self.closed = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    def add(self, ids: Tensor, scores: Tensor, closing: Tensor, tokens: int) -> None:
        """Offer candidates `(R, n, T)` of `tokens` tokens, those that are `closing (R, n)`."""
        usable = closing & ~self.closed[:, None]
        offered = (scores / tokens**self.penalty).masked_fill(~usable, NEVER)
        self.scores, order = torch.cat([self.scores, offered], 1).topk(self.scores.shape[1])
        self.ids = torch.cat([self.ids, ids], 1).take_along_dim(order[..., None], 1)

    def close(self, running: Tensor, tokens: int) -> bool:
        """Close rows whose best running score `(R,)` no longer beats the worst kept one; true
        when all are."""
        self.closed |= running / tokens**self.penalty <= self.scores[:, -1]
        return bool(self.closed.all())

    @property
    def best(self) -> Tensor:
        """`(R, T)`."""
        return self.ids[:, 0]


@torch.no_grad()
def beam_search(
    request: Request, rng: Rng, beams: int, groups: int, diversity: float, penalty: float
) -> Iterator[Tensor]:
    """The best of each group, `(rows, groups, t)`: running ones, then whole ones."""
    ids = request.blank(rng.device)[:, None, None].repeat(1, groups, beams, 1)
    stream = Stream(request.times(groups * beams))
    scores = torch.full(ids.shape[:3], NEVER, dtype=torch.float64, device=rng.device)
    scores[..., 0] = 0.0  # the beams are equal at first: one of them counts
    finished = [Finished(ids[:, g], penalty) for g in range(groups)]
    for done in range(request.start, request.length):
        total = scores[..., None] + log_probs(stream, ids, done)
        used = torch.zeros_like(total[:, 0, 0])  # how often groups have taken each token
        parents = torch.empty_like(ids[..., 0])
        for g, store in enumerate(finished):
            parents[:, g], scores[:, g], ids[:, g] = _step(
                request, ids[:, g], total[:, g], diversity * used, store, done
            )
            used.scatter_add_(1, ids[:, g, :, done], torch.ones_like(scores[:, g]))
        stream.select(flat_rows(parents.flatten(1), groups, beams))
        tokens = done + 1 - request.start
        closed = [store.close(scores[:, g].amax(1), tokens) for g, store in enumerate(finished)]
        if all(closed):
            break
        yield ids[:, :, 0, : done + 1]
    yield torch.stack([store.best for store in finished], 1)


def log_probs(stream: Stream, ids: Tensor, done: int) -> Tensor:
    """Log probabilities of the next token of `ids (B, ..., T)`, of which `done` tokens stand, `(B,
    ..., V)`."""
    logits = stream.next(ids.flatten(0, -2)[:, :done])
    return logits.double().log_softmax(-1).view(*ids.shape[:-1], -1)


def flat_rows(parents: Tensor, groups: int, beams: int) -> Tensor:
    """Rows of the flattened batch, from the beam in its group that each beam goes on from."""
    base = torch.arange(len(parents) * groups, device=parents.device) * beams
    return (parents.view(-1, beams) + base[:, None]).flatten()


def _step(
    request: Request, ids: Tensor, total: Tensor, charge: Tensor, store: Finished, done: int
) -> tuple[Tensor, Tensor, Tensor]:
    """One group's step: parents, scores and ids of its beams, by totals `(B, K, V)` less
    `charge (B, V)`.

    Twice as many candidates as beams, so that enough go on when some close.
    """
    _, beams, vocab = total.shape
    charged = (total - charge[:, None]).flatten(1)
    rank, index = charged.topk(min(2 * beams, charged.shape[1]))
    model = total.flatten(1).gather(1, index)
    parent, token = index // vocab, index % vocab
    candidates = ids.take_along_dim(parent[..., None], 1)
    candidates[..., done] = token
    closing = (token == request.end) | (done + 1 == request.length)
    first = slice(None, beams)
    tokens = done + 1 - request.start
    store.add(candidates[:, first], model[:, first], closing[:, first], tokens)
    keep = rank.masked_fill(closing, NEVER).topk(beams).indices
    scores = model.masked_fill(closing, NEVER).gather(1, keep)
    return parent.gather(1, keep), scores, candidates.take_along_dim(keep[..., None], 1)
