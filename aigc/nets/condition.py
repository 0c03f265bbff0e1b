"""What a network is told of an example besides the example: a class label or a caption."""

import torch
from torch import Tensor, nn

from aigc.core.caption import VOCAB
from aigc.core.spec import Spec
from aigc.nets.layers import ClassEmbedding


class CaptionEmbedding(nn.Module):
    """Caption `(B, L)` to states `(B, L, width)` by a small transformer, and their mean.

    Padding is a symbol like others, so that nothing needs a mask.
    """

    def __init__(self, length: int, width: int, depth: int = 2):
        super().__init__()
        self.bytes = nn.Embedding(VOCAB, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        heads = max(1, width // 32)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def states(self, y: Tensor | None, like: Tensor) -> Tensor:
        """`(B, L, width)` for attention; `y=None` and a `y` of -1 are the empty caption."""
        y = like.new_zeros(len(like), len(self.place), dtype=torch.long) if y is None else y
        return self.norm(self.encoder(self.bytes(y.clamp(min=0)) + self.place))

    def forward(self, y: Tensor | None, like: Tensor, states: Tensor | None = None) -> Tensor:
        """`(B, width)`: the mean state; `states` saves making them again."""
        return (self.states(y, like) if states is None else states).mean(1)


def condition(spec: Spec, width: int) -> nn.Module:
    """`(y, like) -> (B, width)` for what the data come with: captions, labels or nothing."""
    if spec.caption:
        return CaptionEmbedding(spec.caption, width)
    return ClassEmbedding(spec.classes, width)
