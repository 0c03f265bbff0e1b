"""One transformer, causal as a language model over tokens and bidirectional as a denoiser of
floats.

Pre-norm blocks with RMSNorm (Zhang & Sennrich 2019), rotary positions (Su et al. 2021), SwiGLU
(Shazeer 2020), normalised queries and keys (Henry et al. 2020); conditioning by adaptive norms
(DiT, Peebles & Xie 2023).
"""

from itertools import chain
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.cached import Cache, Step, attend
from aigc.nets.condition import CaptionEmbedding, condition
from aigc.nets.gradients import Attended, SwiGLU, as_products, by_hand, heads
from aigc.nets.layers import RMSNorm, TimeEmbedding, attention, zero
from aigc.nets.packed import Product, by, packable

EPS = torch.finfo(torch.float32).eps


class Rotary(nn.Module):
    """Rotates pairs of channels by an angle proportional to the position."""

    def __init__(self, length: int, dim: int, base: float = 10_000.0):
        super().__init__()
        if dim < 2 or dim % 2:
            raise BadInput(
                f"a head of {dim} channels cannot be rotated: width / heads must be even"
            )
        frequency = base ** (-torch.arange(0, dim, 2).float() / dim)
        angles = torch.arange(length).float()[:, None] * frequency
        both = torch.stack([angles.cos(), angles.sin()]).repeat(1, 1, 2)
        self.register_buffer("both", both, persistent=False)
        self.both[1, :, : dim // 2].neg_()


class Attention(nn.Module):
    """Multi-head attention; with a cache, only the new tokens are computed."""

    def __init__(self, width: int, heads: int, rotary: Rotary, causal: bool):
        super().__init__()
        self.heads, self.causal, self.rotary = heads, causal, rotary
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = RMSNorm(width // heads), RMSNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """`x (B, T, width)`."""
        start, read, write = 0, self.qkv, self.out
        if cache is not None:
            start, (read, write, *_) = cache.length, cache.ready(layer, read, write)
        if cache is None and by_hand(x, read):
            how = *self._norms(start, x), self.causal
            return write(Attended.apply(as_products(x), read.weight, *how))
        qkv = read(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = heads(qkv, *self._norms(start, x))
        if cache is not None:
            stop = start + k.shape[2]
            keys, values = cache.keys[layer], cache.values[layer]
            keys[:, :, start:stop], values[:, :, start:stop] = k, v
        if start:
            h = attend(q, keys[:, :, :stop], values[:, :, :stop])
        else:
            h = attention(q, k, v, self.causal)
        return write(h.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """How much each position reads of each, `(B, heads, T, T)`: for looking, not for use."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, _ = heads(qkv, *self._norms(0, x))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.causal:
            later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        return scores.softmax(-1)

    def _norms(self, start: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Weights of the norms, how positions from `start` on are turned, and epsilon."""
        turn = self.rotary.both[:, start : start + x.shape[1]]
        return self.q_norm.weight, self.k_norm.weight, turn, self.q_norm.eps or EPS


class Block(nn.Module):
    """Attention and SwiGLU; `cond` widths give scale, shift and gate to both branches."""

    def __init__(
        self, width: int, heads: int, rotary: Rotary, causal: bool, dropout: float, cond: int = 0
    ):
        super().__init__()
        hidden = 16 * round(width * 8 / 3 / 16)
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attention = Attention(width, heads, rotary, causal)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.modulate = zero(nn.Linear(cond, 6 * width)) if cond else None

    def forward(
        self, x: Tensor, cond: Tensor | None = None, cache: Cache | None = None, layer: int = 0
    ) -> Tensor:
        """`x (B, T, width)`, `cond (B, cond)`."""
        if self.modulate is None:
            x = x + self.dropout(self.attention(self.norm1(x), cache, layer))
            return x + self.dropout(self.mlp(self.norm2(x), cache, layer))
        a, b, c, d, e, f = self.modulate(cond)[:, None].chunk(6, dim=-1)
        x = x + c * self.dropout(self.attention(self.norm1(x) * (1 + a) + b))
        return x + f * self.dropout(self.mlp(self.norm2(x) * (1 + d) + e))

    def mlp(self, x: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """SwiGLU."""
        up, down = self.up, self.down
        if cache is not None:
            *_, up, down = cache.ready(layer, up, down)
        if by_hand(x, up, down):
            return SwiGLU.apply(as_products(x), up.weight, down.weight)
        gate, value = up(x).chunk(2, dim=-1)
        return down(F.silu(gate) * value)


class CausalTransformer(nn.Module):
    """CausalLM role: `(ids, y, cache) -> logits`, where `logits[:, k]` predicts token `k`.

    A start token (one a class) stands before the ids, so `T` ids give `T + 1` predictions, the
    last one of the token to come; before it, the states of a caption if there is one. With a
    cache the start is made once and later calls give new ids only.
    """

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        heads = heads or max(1, width // 32)
        self.length, self.heads, self.depth = spec.shape[0], heads, depth
        self.tokens = nn.Embedding(spec.vocab, width)  # also the output layer
        self.start = nn.Embedding(max(spec.classes, 1), width)
        self.caption = CaptionEmbedding(spec.caption, width) if spec.caption else None
        self.before = spec.caption  # positions ahead of the start
        total = spec.caption + spec.shape[0] + 1
        # Where a token stands matters by itself: a pixel, a column. Rotation alone tells distances.
        self.place = nn.Parameter(torch.zeros(total, width))
        rotary = Rotary(total, width // heads)
        self.blocks = nn.ModuleList(
            Block(width, heads, rotary, True, dropout) for _ in range(depth)
        )
        self.dropout, self.norm = nn.Dropout(dropout), RMSNorm(width)
        self.apply(_init)
        for name, p in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(p, std=0.02 / (2 * depth) ** 0.5)  # GPT-2's residual scaling

    def forward(self, ids: Tensor, y: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """`ids (B, T)`, `y (B,)` to logits `(B, T + 1, V)`, or of the new ids alone."""
        return self._logits(ids, y) if cache is None else self._go_on(ids, y, cache)

    @torch.compiler.disable  # which can do nothing with lengths that grow and packed weights
    def _go_on(self, ids: Tensor, y: Tensor | None, cache: Cache) -> Tensor:
        return self._logits(ids, y, cache)

    def _logits(self, ids: Tensor, y: Tensor | None, cache: Cache | None = None) -> Tensor:
        opening = cache is None or cache.length == 0
        if not opening and cache.step and ids.shape[1] == 1:
            return cache.step(ids, cache)
        x = self.tokens(ids)
        if opening:
            x = torch.cat([*self._opening(ids, y), x], dim=1)
        first = cache.length if cache else 0
        x = self.dropout(x + self.place[first : first + x.shape[1]])
        for layer, block in enumerate(self.blocks):
            x = block(x, cache=cache, layer=layer)
        if cache is not None:
            cache.length += x.shape[1]
        x = self.norm(x[:, self.before :] if opening else x)
        if cache is not None and cache.products:
            return cache.products[-1][0](x)
        return F.linear(x, self.tokens.weight)

    def _opening(self, ids: Tensor, y: Tensor | None) -> list[Tensor]:
        """States of the caption and the start token."""
        none = ids.new_zeros(len(ids))
        if self.caption is None:
            return [self.start(none if y is None else y)[:, None]]
        return [self.caption.states(y, ids), self.start(none)[:, None]]

    def cache(self, batch: int) -> Cache:
        """Room for the start and all tokens but the last, which nothing reads."""
        weight, length = self.tokens.weight, self.before + self.length
        shape = (self.depth, batch, self.heads, length, weight.shape[1] // self.heads)
        products = self._products()
        step = Step(self, products) if products else None
        return Cache(weight.new_empty(shape), weight.new_empty(shape), 0, products, step)

    @property
    def rows(self) -> int:
        """In batches of multiples of so many rows, a row's next logits have the same bits."""
        return 1 if self._packs else 4

    @property
    def _packs(self) -> bool:
        if self.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return False
        return packable([self.tokens, *chain(*map(linear, self.blocks))])

    def _products(self) -> list[tuple[Product, ...]] | None:
        if not self._packs:
            return None
        products = [tuple(by(layer.weight) for layer in linear(block)) for block in self.blocks]
        return [*products, (by(self.tokens.weight),)]


def linear(block: Block) -> tuple[nn.Module, ...]:
    """Its products, in the order of `Cache.products`."""
    return block.attention.qkv, block.attention.out, block.up, block.down


class TransformerDenoiser(nn.Module):
    """Denoiser role: every position (or `patch` of positions along each axis) is a token.

    With `outputs=2` it emits `(B, 2 C, *S)`.
    """

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        patch: int = 1,
        dropout: float = 0.0,
        outputs: int = 1,
    ):
        super().__init__()
        heads = heads or max(1, width // 32)
        channels, *size = spec.shape if spec.rank else (1, *spec.shape)
        self.shape = (channels, *size)
        self.patch = patch if all(side % patch == 0 for side in size) else 1
        inside = channels * self.patch ** len(size)
        rotary = Rotary(prod(side // self.patch for side in size), width // heads)
        self.time, self.label = TimeEmbedding(width), condition(spec, width)
        self.out_shape = (outputs * spec.shape[0], *spec.shape[1:])
        self.inp, self.out = nn.Linear(inside, width), nn.Linear(width, outputs * inside)
        self.place = nn.Parameter(0.02 * torch.randn(rotary.both.shape[1], width))
        self.blocks = nn.ModuleList(
            Block(width, heads, rotary, False, dropout, cond=width) for _ in range(depth)
        )
        self.norm = RMSNorm(width)
        zero(self.out)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, *shape)`, `t (B,)` in [0, 1], `y (B,)`."""
        emb = self.time(t)
        cond = F.silu(emb + self.label(y, emb))
        h = self.inp(self._patches(x.view(len(x), *self.shape))) + self.place
        for block in self.blocks:
            h = block(h, cond)
        return self._unpatch(self.out(self.norm(h))).view(len(x), *self.out_shape)

    def _patches(self, x: Tensor) -> Tensor:
        """`(B, C, *S)` to `(B, positions, C * patch**rank)`."""
        for axis in range(2, x.ndim):
            x = x.unflatten(2 + 2 * (axis - 2), (-1, self.patch))
        rank = len(self.shape) - 1
        grid, inner = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
        return x.permute(0, *grid, 1, *inner).flatten(1 + rank).flatten(1, rank)

    def _unpatch(self, h: Tensor) -> Tensor:
        rank = len(self.shape) - 1
        coarse = [side // self.patch for side in self.shape[1:]]
        h = h.unflatten(1, coarse).unflatten(-1, (-1, *[self.patch] * rank))
        order = [1 + rank] + [a for i in range(rank) for a in (1 + i, 2 + rank + i)]
        return h.permute(0, *order).reshape(len(h), -1, *self.shape[1:])


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
