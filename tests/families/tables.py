"""A language model whose law is known: a table of logits for every beginning."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Read:
    """The cache of a table: what it has read, and its length with the start."""

    ids: Tensor
    length: int = 0

    def select(self, rows: Tensor) -> None:
        self.ids = self.ids[rows]


class TableLM(nn.Module):
    """CausalLM role on `length` tokens of `vocab`; its states are random too, one a beginning."""

    def __init__(self, vocab: int, length: int, classes: int = 1, seed: int = 0, scale: float = 1):
        super().__init__()
        generator = torch.manual_seed(seed)
        self.vocab, self.length, self.classes = vocab, length, classes
        nodes = sum(vocab**t for t in range(length + 1))
        self.table = scale * torch.randn(classes, nodes, vocab, generator=generator).double()
        self.states = torch.randn(nodes, 3, generator=generator).double()
        self.norm = nn.Identity()

    def cache(self, batch: int) -> Read:
        return Read(torch.zeros(batch, 0, dtype=torch.long))

    def forward(self, ids: Tensor, y: Tensor | None = None, cache: Read | None = None) -> Tensor:
        first = 0
        if cache is not None and cache.length:
            first = cache.length
            ids = torch.cat([cache.ids[:, : cache.length - 1], ids], 1)
        if cache is not None:
            cache.ids, cache.length = ids, ids.shape[1] + 1
        nodes = torch.stack([self.node(ids[:, :t]) for t in range(first, ids.shape[1] + 1)], 1)
        self.norm(self.states[nodes])
        y = torch.zeros(len(ids), dtype=torch.long) if y is None else y
        return self.table[y[:, None], nodes]

    def node(self, ids: Tensor) -> Tensor:
        """The number of a beginning `(B, t)`: shorter ones come first."""
        number = torch.zeros(len(ids), dtype=torch.long)
        for token in ids.unbind(1):
            number = number * self.vocab + token
        return number + sum(self.vocab**t for t in range(ids.shape[1]))


def every(vocab: int, length: int) -> Tensor:
    """All sequences `(vocab ** length, length)`, in order."""
    return torch.tensor(list(product(range(vocab), repeat=length)))


def log_p(net: nn.Module, ids: Tensor, y: Tensor | None = None, start: int = 0) -> Tensor:
    """Log probability of each sequence given its first `start` tokens, `(B,)`."""
    logp = F.log_softmax(net(ids[:, :-1], y).double(), -1)
    return logp.gather(2, ids[..., None])[:, start:, 0].sum(1)
