"""Encoder and decoder whose latents keep the axes of the data: the nets of a first stage.

They take labels and make nothing of them: a latent map says what an example looks like, and what
a label has to do with that is learned by the model of the maps.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.growing import growing
from aigc.nets.layers import CONV, ResBlock, SelfAttention, conv, norm, strides

PATCHED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _sizes(shape: tuple[int, ...], patch: int, down: int) -> tuple[list[tuple[int, ...]], int, int]:
    """Spatial sizes from fine to coarse, the stride between them and the kernel."""
    if any(side % patch for side in shape):
        raise BadInput(f"net.encoder.patch={patch} does not divide a size of {tuple(shape)}")
    sizes = [tuple(side // patch for side in shape)]
    stride, kernel = strides(sizes[0])
    for _ in range(down):
        sizes.append(tuple(-(-side // stride) for side in sizes[-1]))
    return sizes, stride, kernel


class _Level(nn.Sequential):
    """Residual blocks at one size, then attention if asked for."""

    def __init__(
        self, rank: int, width: int, kernel: int, depth: int, dropout: float, attention: bool
    ):
        blocks = [ResBlock(rank, width, width, 0, kernel, dropout) for _ in range(depth)]
        super().__init__(*blocks, *[SelfAttention(rank, width)] * attention)


class MapEncoder(nn.Module):
    """Encoder role that gives a map: `(x, y) -> (B, out, *s)`.

    Sizes are divided by `patch` at once, one dense layer for each patch, then `down` times by 2
    or, for long sounds, by 4; `attention` looks over the whole map at the coarsest size.
    """

    labels = False  # reads none

    def __init__(
        self,
        spec: Spec,
        out: int,
        width: int = 32,
        depth: int = 1,
        down: int = 2,
        patch: int = 1,
        attention: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        rank, (_, stride, kernel) = spec.rank, _sizes(spec.shape[1:], patch, down)
        channels = [width * min(2**i, 4) for i in range(down + 1)]
        if patch == 1:
            self.inp = conv(rank, spec.shape[0], channels[0], kernel)
        else:
            self.inp = CONV[rank](spec.shape[0], channels[0], patch, patch)
        self.levels, self.down = nn.ModuleList(), nn.ModuleList()
        for i, c in enumerate(channels):
            attend = attention and i == down
            self.levels.append(_Level(rank, c, kernel, depth, dropout, attend))
            if i < down:
                self.down.append(conv(rank, c, channels[i + 1], kernel, stride))
        self.norm, self.out = norm(channels[-1]), conv(rank, channels[-1], out, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`."""
        h = self.levels[0](self.inp(x))
        for shrink, level in zip(self.down, self.levels[1:]):
            h = level(shrink(h))
        return self.out(F.silu(self.norm(h)))


class MapDecoder(nn.Module):
    """Decoder role that takes a map: `(z (B, latent, *s), y) -> (B, C, *S)`; the mirror of the
    encoder, nearest-neighbour upsampling."""

    labels = False

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 32,
        depth: int = 1,
        down: int = 2,
        patch: int = 1,
        attention: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        rank, (sizes, _, kernel) = spec.rank, _sizes(spec.shape[1:], patch, down)
        self.sizes = sizes[::-1]
        channels = [width * min(2**i, 4) for i in range(down + 1)][::-1]
        self.inp = conv(rank, latent, channels[0])
        self.levels, self.up = nn.ModuleList(), nn.ModuleList()
        for i, c in enumerate(channels):
            attend = attention and i == 0
            self.levels.append(_Level(rank, c, kernel, depth, dropout, attend))
            if i < down:
                self.up.append(growing(rank, c, channels[i + 1], kernel))
        self.norm = norm(channels[-1])
        if patch == 1:
            self.out = conv(rank, channels[-1], spec.shape[0], kernel)
        else:
            self.out = PATCHED[rank](channels[-1], spec.shape[0], patch, patch)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent, *s)`."""
        h = self.levels[0](self.inp(z))
        for grow, level, size in zip(self.up, self.levels[1:], self.sizes[1:]):
            h = level(grow(h, size))
        return self.out(F.silu(self.norm(h)))
