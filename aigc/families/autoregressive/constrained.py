"""Beam search whose result holds given words."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.autoregressive.sampling import Request, Search, Stream
from aigc.families.autoregressive.search import NEVER, Finished, log_probs


@dataclass(frozen=True)
class Constrained(Search):
    """Grid beam search: `beams` sequences for every number of the words' tokens that stand
    (Hokamp & Liu 2017); the result holds every word after the prompt.

    `words` are strings (a run turns them into its tokens as they are written: in a BPE a leading
    space counts) or sequences of token ids. Words may overlap.
    """

    words: Any = ()
    beams: int = 4
    length_penalty: float = 1.0

    def search(self, request: Request, rng: Rng) -> Iterator[Tensor]:
        """The best sequence so far, then the best that holds all words."""
        words = [list(word) for word in self.words]
        if not all(words) or any(isinstance(i, str) for word in words for i in word):
            raise BadInput(f"sampler.words={self.words}: tokens of at least one letter each")
        yield from _grid(request, rng, Words(words, rng.device), self.beams, self.length_penalty)


class Words:
    """Automata that read tokens and know how many tokens of each word stand (Knuth, Morris &
    Pratt 1977).

    A word that has been met stays met. `tokens` are all that occur in words; the column after
    theirs stands for any other token.
    """

    def __init__(self, words: list[list[int]], device: torch.device):
        tokens = sorted({i for word in words for i in word})
        self.tokens = torch.tensor(tokens, dtype=torch.long, device=device)
        self.sizes = torch.tensor([len(w) for w in words], dtype=torch.long, device=device)
        width = int(self.sizes.max()) if words else 0
        table = torch.zeros(len(words), width + 1, len(self.tokens) + 1, dtype=torch.long)
        for w, word in enumerate(words):
            for met in range(len(word) + 1):
                for column, token in enumerate([*self.tokens.tolist(), None]):
                    table[w, met, column] = _advance(word, met, token)
        self.table = table.to(device)

    def __call__(self, met: Tensor, columns: Tensor) -> Tensor:
        """Tokens met `(..., W)` after reading the token of `columns (...)`."""
        word = torch.arange(len(self.sizes), device=met.device)
        return self.table[word, met, columns[..., None]]


def _advance(word: list[int], met: int, token: int | None) -> int:
    """How many tokens of `word` end a text in which `met` did and that goes on with `token`."""
    if met == len(word):
        return met
    text = [*word[:met], token]
    return max(k for k in range(met + 2) if k == 0 or text[-k:] == word[:k])


@torch.no_grad()
def _grid(request: Request, rng: Rng, words: Words, beams: int, penalty: float) -> Iterator[Tensor]:
    """Beams `(B, banks * K)`: bank `c` holds sequences in which `c` tokens of the words stand."""
    banks = int(words.sizes.sum()) + 1
    ids = request.blank(rng.device)[:, None].repeat(1, banks * beams, 1)
    met = ids.new_zeros(*ids.shape[:2], len(words.sizes))
    scores = torch.full(ids.shape[:2], NEVER, dtype=torch.float64, device=rng.device)
    scores[:, 0] = 0.0
    stream = Stream(request.times(banks * beams))
    finished = Finished(ids[:, :beams], penalty)
    rows = torch.arange(len(ids), device=rng.device)[:, None] * banks * beams
    for done in range(request.start, request.length):
        grown = _grow(log_probs(stream, ids, done) + scores[..., None], met, words, beams + 1)
        left = request.length - done - 1
        missing = words.sizes - grown.met
        closing = (grown.token == request.end) | (left == 0)
        lost = (missing > left).any(-1) | (closing & (missing > 0).any(-1))
        total = grown.total.masked_fill(lost, NEVER)
        value, order = total.masked_fill(~closing, NEVER).topk(beams)
        tokens = done + 1 - request.start
        finished.add(grown.ids(ids, order, done), value, value > NEVER, tokens)
        order, scores = _fill(total.masked_fill(closing, NEVER), grown.met.sum(-1), banks, beams)
        ids = grown.ids(ids, order, done)
        met = grown.met.take_along_dim(order[..., None], 1)
        stream.select((grown.parent[order] + rows).flatten())
        if finished.close(scores.amax(1), tokens):
            break
        yield ids.take_along_dim(scores.argmax(1)[:, None, None], 1)[:, 0, : done + 1]
    if (finished.scores[:, 0] == NEVER).any():
        raise BadInput(f"sampler.words: they do not fit in {request.length - request.start} tokens")
    yield finished.best


class Grown(NamedTuple):
    """Candidates `(B, N)` for the next step: the beam each comes from `(N,)`, its new token, its
    score, and the tokens met `(B, N, W)`."""

    parent: Tensor
    token: Tensor
    total: Tensor
    met: Tensor

    def ids(self, ids: Tensor, order: Tensor, done: int) -> Tensor:
        """Sequences of candidates `order (B, n)`, of which token `done` is the new one."""
        out = ids.take_along_dim(self.parent[order][..., None], 1)
        out[..., done] = self.token.gather(1, order)
        return out


def _grow(total: Tensor, met: Tensor, words: Words, others: int) -> Grown:
    """Each beam with each token of the words and its `others` best tokens besides.

    Nothing is lost: tokens that occur in no word lead to one and the same bank.
    """
    shape = (*total.shape[:2], -1)
    inside = total[..., words.tokens]
    rest = total.index_fill(2, words.tokens, NEVER)
    outside, token = rest.topk(min(others, total.shape[2]))
    token = torch.cat([words.tokens.expand(shape), token], 2)
    column = torch.arange(token.shape[2], device=met.device).clamp(max=len(words.tokens))
    after = words(met[:, :, None], column.expand(shape))
    parent = torch.arange(total.shape[1], device=met.device).repeat_interleave(token.shape[2])
    total = torch.cat([inside, outside], 2)
    return Grown(parent, token.flatten(1), total.flatten(1), after.flatten(1, 2))


def _fill(total: Tensor, bank: Tensor, banks: int, beams: int) -> tuple[Tensor, Tensor]:
    """The best candidates of each bank, `(B, banks * beams)`, and their scores."""
    best = [total.masked_fill(bank != c, NEVER).topk(beams) for c in range(banks)]
    return torch.cat([b.indices for b in best], 1), torch.cat([b.values for b in best], 1)
