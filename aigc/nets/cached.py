"""What a transformer keeps of the tokens that it has read, and how a new one attends to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.nets.packed import Product


@dataclass
class Cache:
    """Keys and values of the tokens so far, in memory allocated once: `(layers, B, heads, T,
    d)`. `products` are the linear layers of each block and of the output, made ready for few
    rows; `step` goes through the blocks with one new token a row."""

    keys: Tensor
    values: Tensor
    length: int = 0
    products: list[tuple[Product, ...]] | None = None
    step: "Step | None" = None

    def ready(self, layer: int, *plain: nn.Linear) -> tuple[Product, ...]:
        """The products of a layer that stand for `plain`."""
        return self.products[layer] if self.products else plain


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """New queries against all keys so far.

    Plain products rather than the fused kernel: on CPU its result for one query depends on the
    batch size in the last bit, and a sample must not depend on its neighbours.
    """
    batch, heads, new, _ = q.shape
    q, k, v = (x.reshape(batch * heads, -1, x.shape[-1]) for x in (q, k, v))
    scores = torch.bmm(q, k.transpose(1, 2)).div_(q.shape[-1] ** 0.5)
    if new > 1:
        total = k.shape[1]
        later = torch.ones(new, total, dtype=torch.bool, device=q.device).triu(total - new + 1)
        scores = scores.masked_fill(later, float("-inf"))
    return torch.bmm(scores.softmax(-1), v).view(batch, heads, new, -1)


class Step:
    """The blocks of a `CausalTransformer` for one new token a row, in few operations: of a row or
    two an operation costs more than what it computes.

    Weights of the norms of queries and keys, and the scale of the scores, are multiplied into what
    the rotation multiplies by. A row's result has the same bits in every batch.
    """

    def __init__(self, blocks: nn.ModuleList, products: list[tuple[Product, ...]]):
        own = [block.attention for block in blocks]
        turn, half = own[0].rotary.both, own[0].rotary.cos.shape[1]
        both = [torch.stack([a.q_norm.weight / (2 * half) ** 0.5, a.k_norm.weight]) for a in own]
        weight = torch.stack(both).unsqueeze(2)  # (layers, 2, 1, d)
        cos, sin = turn[:, :, None, None, None]
        self.cos, self.sin, self.half = cos * weight, sin * weight.roll(half, -1), half
        self.norms = [(_twice(block.norm1), _twice(block.norm2)) for block in blocks]
        self.eps = own[0].q_norm.eps or torch.finfo(torch.float32).eps
        self.products = products

    def __call__(self, x: Tensor, cache: Cache) -> Tensor:
        """`x (B, 1, width)` to what leaves the last block."""
        with torch.inference_mode():  # a sixth less than `no_grad` alone
            return self._blocks(x[:, 0], cache)[:, None]

    def _blocks(self, x: Tensor, cache: Cache) -> Tensor:
        t, (layers, batch, heads, room, d) = cache.length, cache.keys.shape
        flat = (layers, batch * heads, room, d)
        past = cache.keys.view(flat), cache.values.view(flat)
        each = zip(
            self.products,
            self.norms,
            self.cos[t].unbind(0),
            self.sin[t].unbind(0),
            cache.keys[:, :, :, t].unbind(0),
            cache.values[:, :, :, t].unbind(0),
            past[0][:, :, : t + 1].transpose(2, 3).unbind(0),
            past[1][:, :, : t + 1].unbind(0),
        )
        for (read, write, up, down), (norm1, norm2), cos, sin, key, value, keys, values in each:
            qkv = read(rms(x, norm1, self.eps)).view(batch, 3, heads, d)
            qk = rms(qkv[:, :2], None, self.eps)
            q, k = (qk * cos).add_(qk.roll(self.half, -1).mul_(sin)).unbind(1)
            key.copy_(k)
            value.copy_(qkv[:, 2])
            scores = torch.bmm(q.reshape(batch * heads, 1, d), keys)
            x = x + write(torch.bmm(scores.softmax(-1), values).view(batch, heads * d))
            gate, wide = up(rms(x, norm2, self.eps)).chunk(2, dim=-1)
            x = x + down(F.silu(gate).mul_(wide))
        return x


def rms(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """RMS norm over the last axis, as the layer norm of `x` and `-x`, which has a kernel."""
    both = torch.cat((x, x.neg()), -1)
    return F.layer_norm(both, both.shape[-1:], weight, None, eps)[..., : x.shape[-1]]


def _twice(norm: nn.RMSNorm) -> Tensor:
    return norm.weight.repeat(2)
