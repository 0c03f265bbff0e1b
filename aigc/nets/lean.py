"""The plainest convolutional pair: strided convolutions and one dense layer, no norms.

Radford et al. 2016 without batch norm. Most of the work lies at a quarter of the size, so it costs
a fraction of the residual pair in `conv.py`.
"""

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.layers import CONV, pyramid

TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _plan(spec: Spec, width: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """Sizes from fine to coarse and the channels of each, doubling up to 4 x width."""
    sizes = pyramid(spec.shape[1:], 2, floor=7)
    return sizes, [spec.shape[0], *(width * min(2**i, 4) for i in range(len(sizes) - 1))]


class LeanEncoder(nn.Module):
    """Encoder role: `(x, y) -> (B, out)`."""

    def __init__(
        self, spec: Spec, out: int, width: int = 32, hidden: int = 256, dropout: float = 0.0
    ):
        super().__init__()
        sizes, channels = _plan(spec, width)
        pairs = pairwise(channels)
        self.convs = nn.ModuleList(CONV[spec.rank](a, b, 3, 2, padding=1) for a, b in pairs)
        self.hidden = nn.Linear(channels[-1] * prod(sizes[-1]), hidden)
        self.label = condition(spec, hidden)
        self.dropout, self.out = nn.Dropout(dropout), nn.Linear(hidden, out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `y (B,)`."""
        h = x
        for conv in self.convs:
            h = F.silu(conv(h))
        h = F.silu(self.hidden(self.dropout(h.flatten(1))) + self.label(y, x.flatten(1)))
        return self.out(self.dropout(h))


class LeanDecoder(nn.Module):
    """Decoder role: `(z, y) -> (B, C, *S)`; the mirror, with transposed convolutions."""

    def __init__(
        self, spec: Spec, latent: int, width: int = 32, hidden: int = 256, dropout: float = 0.0
    ):
        super().__init__()
        sizes, channels = _plan(spec, width)
        self.sizes, channels = sizes[::-1], channels[::-1]
        self.inp, self.label = nn.Linear(latent, hidden), condition(spec, hidden)
        self.hidden = nn.Linear(hidden, channels[0] * prod(self.sizes[0]))
        self.dropout = nn.Dropout(dropout)
        pairs = pairwise(channels)
        self.convs = nn.ModuleList(TRANSPOSED[spec.rank](a, b, 4, 2, padding=1) for a, b in pairs)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)`."""
        h = self.dropout(F.silu(self.inp(z) + self.label(y, z)))
        h = self.hidden(h).unflatten(1, (-1, *self.sizes[0]))
        for conv, size in zip(self.convs, self.sizes[1:]):
            h = conv(F.silu(h))[(..., *(slice(side) for side in size))]  # odd sizes: cut the edge
        return h
