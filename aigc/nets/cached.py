"""What a transformer keeps of the tokens that it has read, and how a new one attends to it."""

from dataclasses import dataclass
from typing import Any

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
    """A `CausalTransformer` for one new token a row, in few operations: of a row or two an
    operation costs more than what it computes. A row's result has the same bits in every batch.

    An RMS norm is the layer norm of `x` and `-x`, which has a kernel; so what the blocks add to is
    kept as both, and the half turn that a rotation wants is a shifted view of a norm's result.
    Weights of the norms of queries and keys, and the scale of the scores, are multiplied into what
    the rotation multiplies by.
    """

    def __init__(self, net: Any, products: list[tuple[Product, ...]]):
        own = [block.attention for block in net.blocks]
        turn = own[0].rotary.both
        half = turn.shape[-1] // 2
        both = [torch.stack([a.q_norm.weight / (2 * half) ** 0.5, a.k_norm.weight]) for a in own]
        weight = torch.stack(both).unsqueeze(2)  # (layers, 2, 1, d)
        cos, sin = turn[:, :, None, None, None]
        turned = sin * weight.roll(half, -1)
        turned[..., half:].neg_()  # its view holds the second half and minus the first
        self.cos, self.sin, self.half = cos * weight, turned, half
        self.norms = [(_twice(block.norm1), _twice(block.norm2)) for block in net.blocks]
        self.norm = _twice(net.norm)
        self.eps = own[0].q_norm.eps or torch.finfo(torch.float32).eps
        self.sign = turn.new_tensor([[1.0], [-1.0]])
        self.net, self.products = net, products

    def __call__(self, ids: Tensor, cache: Cache) -> Tensor:
        """`ids (B, 1)` to logits `(B, 1, V)`."""
        with torch.inference_mode():  # a sixth less than `no_grad` alone
            x = self.net.tokens(ids).add_(self.net.place[cache.length]) * self.sign
            self._blocks(x, cache)
            if self.net.norm._forward_hooks:  # as a module, in ten operations, if one listens to it
                x = self.net.norm(x[:, :1]).squeeze(1)
            else:
                x = self._norm(x, self.norm)
        cache.length += 1
        return self.products[-1][0](x).unsqueeze(1)

    def _blocks(self, x: Tensor, cache: Cache) -> None:
        """Add to `x (B, 2, width)` what the blocks give."""
        t, (layers, batch, heads, room, d) = cache.length, cache.keys.shape
        flat, half, sign = (layers, batch * heads, room, d), self.half, self.sign
        past = cache.keys.view(flat), cache.values.view(flat)
        each = zip(
            self.products,
            self.norms,
            self.cos[t].unbind(0),
            self.sin[t].unbind(0),
            cache.keys[:, :, :, t].unbind(0),
            cache.values[:, :, :, t : t + 1].unbind(0),
            past[0][:, :, : t + 1].transpose(2, 3).unbind(0),
            past[1][:, :, : t + 1].unbind(0),
        )
        for (read, write, up, down), (norm1, norm2), cos, sin, key, value, keys, values in each:
            qkv = read(self._norm(x, norm1)).view(batch, 3, heads, 1, d)
            value.copy_(qkv.select(1, 2))
            both = torch.layer_norm(qkv.narrow(1, 0, 2) * sign, (2, d), None, None, self.eps)
            both = both.view(batch, 2, heads, 2 * d)
            q, k = (both.narrow(3, 0, d) * cos).add_(both.narrow(3, half, d) * sin).unbind(1)
            key.copy_(k)
            scores = torch.bmm(q.reshape(batch * heads, 1, d), keys)
            h = write(torch.bmm(scores.softmax(-1), values).view(batch, heads * d))
            x.addcmul_(h.unsqueeze(1), sign)
            gate, wide = up(self._norm(x, norm2)).chunk(2, dim=-1)
            x.addcmul_(down(F.silu(gate).mul_(wide)).unsqueeze(1), sign)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.layer_norm(x, x.shape[1:], weight, None, self.eps).select(1, 0)


def _twice(norm: nn.RMSNorm) -> Tensor:
    return norm.weight.expand(2, -1).contiguous()
