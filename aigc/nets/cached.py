"""What a transformer keeps of the tokens that it has read, and how a new one attends to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aigc.nets.packed import Product


@dataclass
class Cache:
    """Keys and values of the tokens so far, in memory allocated once: `(layers, B, heads, T,
    d)`. `products` are the linear layers of each block and of the output, made ready for few
    rows."""

    keys: Tensor
    values: Tensor
    length: int = 0
    products: list[tuple[Product, ...]] | None = None

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
