"""A bidirectional transformer over tokens, some of which are masked or replaced."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.layers import RMSNorm, TimeEmbedding
from aigc.nets.transformer import Block, Rotary


class TokenDenoiser(nn.Module):
    """TokenDenoiser role: `(ids, t, y) -> logits`, where ids run to `states` (a mask beyond the
    vocabulary) and logits to the vocabulary alone.

    With `timed=False` time is not looked at; without time and classes the blocks are those of the
    CausalLM role, so that both have the same size.
    """

    def __init__(
        self,
        spec: Spec,
        states: int | None = None,
        timed: bool = True,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        heads = heads or max(1, width // 32)
        self.vocab, self.timed = spec.vocab, timed
        self.tokens = nn.Embedding(states or spec.vocab, width)  # also the output layer
        self.place = nn.Parameter(torch.zeros(spec.shape[0], width))
        self.time = TimeEmbedding(width) if timed else None
        self.label = condition(spec, width)
        cond = width if timed or spec.classes or spec.caption else 0
        rotary = Rotary(spec.shape[0], width // heads)
        self.blocks = nn.ModuleList(
            Block(width, heads, rotary, False, dropout, cond) for _ in range(depth)
        )
        self.dropout, self.norm = nn.Dropout(dropout), RMSNorm(width)
        for name, p in self.blocks.named_parameters():
            if p.ndim > 1 and "modulate" not in name:
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / (2 * depth) ** 0.5 if deep else 0.02)  # GPT-2's
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`ids (B, T)`, `t (B,)` in [0, 1], `y (B,)` to logits `(B, T, V)`."""
        x = self.dropout(self.tokens(ids) + self.place)
        cond = self.label(y, x[:, 0])
        if self.time is not None:
            cond = cond + self.time(t)
        cond = F.silu(cond)
        for block in self.blocks:
            x = block(x, cond)
        return F.linear(self.norm(x), self.tokens.weight[: self.vocab])
