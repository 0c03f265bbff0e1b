"""Convolutional encoder and decoder for sound, text and pictures from one source."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.growing import growing
from aigc.nets.layers import ResBlock, conv, norm, pyramid, strides


class ConvEncoder(nn.Module):
    """Encoder role: `(x, y) -> (B, out)`. Channels double where the size is divided, up to 4 x
    width."""

    def __init__(
        self,
        spec: Spec,
        out: int,
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        stride, kernel = strides(spec.shape[1:])
        sizes = pyramid(spec.shape[1:], stride)
        channels = [width * min(2**i, 4) for i in range(len(sizes))]
        emb = 4 * width
        self.label = condition(spec, emb)
        self.inp = conv(spec.rank, spec.shape[0], channels[0], kernel)
        self.levels = nn.ModuleList()
        self.down = nn.ModuleList()
        for i, c in enumerate(channels):
            blocks = [ResBlock(spec.rank, c, c, emb, kernel, dropout) for _ in range(depth)]
            self.levels.append(nn.ModuleList(blocks))
            if i + 1 < len(channels):
                self.down.append(conv(spec.rank, c, channels[i + 1], kernel, stride))
        self.norm = norm(channels[-1])
        self.out = nn.Linear(channels[-1] * prod(sizes[-1]), out)
        self.project = (
            nn.Linear(emb, self.out.in_features) if spec.classes or spec.caption else None
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `y (B,)`."""
        emb = self.label(y, x.flatten(1))
        h = self.inp(x)
        for i, blocks in enumerate(self.levels):
            for block in blocks:
                h = block(h, emb)
            if i < len(self.down):
                h = self.down[i](h)
        h = F.silu(self.norm(h)).flatten(1)
        if self.project is None or y is None:
            return self.out(h)
        # Projection conditioning (Miyato & Koyama 2018): what a critic needs to judge pairs (x, y).
        pair = (h * self.project(emb)).sum(1, keepdim=True) / h.shape[1] ** 0.5
        return self.out(h) + pair


class ConvDecoder(nn.Module):
    """Decoder role: `(z, y) -> (B, C, *S)`; the mirror of the encoder, nearest-neighbour
    upsampling."""

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        stride, kernel = strides(spec.shape[1:])
        self.sizes = pyramid(spec.shape[1:], stride)[::-1]
        channels = [width * min(2**i, 4) for i in range(len(self.sizes))][::-1]
        emb = 4 * width
        self.label = condition(spec, emb)
        self.latent = nn.Linear(latent, emb)
        self.inp = nn.Linear(latent, channels[0] * prod(self.sizes[0]))
        self.levels = nn.ModuleList()
        self.up = nn.ModuleList()
        for i, c in enumerate(channels):
            blocks = [ResBlock(spec.rank, c, c, emb, kernel, dropout) for _ in range(depth)]
            self.levels.append(nn.ModuleList(blocks))
            if i + 1 < len(channels):
                self.up.append(growing(spec.rank, c, channels[i + 1], kernel))
        self.norm = norm(channels[-1])
        self.out = conv(spec.rank, channels[-1], spec.shape[0], kernel)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)`."""
        emb = self.label(y, z) + self.latent(z)
        h = self.inp(z).view(len(z), -1, *self.sizes[0])
        for i, blocks in enumerate(self.levels):
            for block in blocks:
                h = block(h, emb)
            if i < len(self.up):
                h = self.up[i](h, self.sizes[i + 1])
        return self.out(F.silu(self.norm(h)))
