"""Residual MLPs for rows of a table (or anything small, flattened)."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.layers import TimeEmbedding, zero


class _Residual(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), zero(nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.dropout(F.silu(self.up(self.norm(x)))))


class MLP(nn.Module):
    """`(B, inp)` and an embedding `(B, width)` to `(B, out)` through `depth` residual blocks."""

    def __init__(self, inp: int, out: int, width: int, depth: int, dropout: float = 0.0):
        super().__init__()
        self.inp = nn.Linear(inp, width)
        self.blocks = nn.ModuleList(_Residual(width, dropout) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, out)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Rows to rows."""
        h = self.inp(x) + emb
        for block in self.blocks:
            h = block(h)
        return self.out(F.silu(self.norm(h)))


class MLPDenoiser(nn.Module):
    """Denoiser role: `(x, t, y) -> like x`, or `(B, outputs * C, *S)`."""

    def __init__(
        self,
        spec: Spec,
        width: int = 256,
        depth: int = 3,
        dropout: float = 0.0,
        outputs: int = 1,
    ):
        super().__init__()
        self.time = TimeEmbedding(width)
        self.label = condition(spec, width)
        self.shape = (outputs * spec.shape[0], *spec.shape[1:])
        self.net = MLP(spec.dims, prod(self.shape), width, depth, dropout)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, *shape)`, `t (B,)` in [0, 1], `y (B,)`."""
        emb = self.time(t) + self.label(y, x.flatten(1))
        return self.net(x.flatten(1), emb).view(len(x), *self.shape)


class MLPEncoder(nn.Module):
    """Encoder role: `(x, y) -> (B, out)`."""

    def __init__(
        self, spec: Spec, out: int, width: int = 256, depth: int = 3, dropout: float = 0.0
    ):
        super().__init__()
        self.label = condition(spec, width)
        self.net = MLP(spec.dims, out, width, depth, dropout)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, *shape)`, `y (B,)`."""
        x = x.flatten(1)
        return self.net(x, self.label(y, x))


class MLPDecoder(nn.Module):
    """Decoder role: `(z, y) -> (B, *shape)`."""

    def __init__(
        self, spec: Spec, latent: int, width: int = 256, depth: int = 3, dropout: float = 0.0
    ):
        super().__init__()
        self.shape = spec.shape
        self.label = condition(spec, width)
        self.net = MLP(latent, prod(spec.shape), width, depth, dropout)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)`."""
        return torch.reshape(self.net(z, self.label(y, z)), (len(z), *self.shape))
