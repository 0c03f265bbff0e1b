"""Plain stacks of strided convolutions: DCGAN (Radford et al. 2016) for pictures, WaveGAN (Donahue
et al. 2019) for sound, one code for both."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.adversarial import Entry, Head, MinibatchStd, PhaseShuffle, levels
from aigc.nets.layers import conv

TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def enlarging(rank: int, inp: int, out: int, kernel: int, stride: int) -> nn.Module:
    """A transposed convolution that multiplies sizes by `stride`, exactly."""
    pad = (kernel - stride + 1) // 2
    return TRANSPOSED[rank](inp, out, kernel, stride, pad, stride - kernel + 2 * pad)


def channels_of(width: int, count: int) -> list[int]:
    """Channels from fine to coarse: doubled at every level, up to eight times."""
    return [width * min(2**i, 8) for i in range(count)]


class StridedDecoder(nn.Module):
    """Decoder role: a linear layer, then transposed convolutions with ReLU (and batch norm)."""

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 32,
        kernel: int = 5,
        stride: int = 2,
        batch_norm: bool = True,
    ):
        super().__init__()
        if kernel < stride:
            raise BadInput(f"net.decoder.kernel={kernel}: at least the stride, {stride}")
        self.sizes = levels(spec, stride)[::-1]
        channels = [*channels_of(width, len(self.sizes) - 1)[::-1], spec.shape[0]]
        self.inp = Entry(spec, latent, channels[0] * prod(self.sizes[0]))
        self.norm, self.up = nn.ModuleList(), nn.ModuleList()
        for inp, out in pairwise(channels):
            self.norm.append(BATCH_NORM[spec.rank](inp) if batch_norm else nn.Identity())
            self.up.append(enlarging(spec.rank, inp, out, kernel, stride))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)` to `(B, C, *S)`."""
        h = self.inp(z, y).view(len(z), -1, *self.sizes[0])
        for norm, up, size in zip(self.norm, self.up, self.sizes[1:]):
            h = up(F.relu(norm(h)))[(..., *(slice(side) for side in size))]
        return h


class StridedEncoder(nn.Module):
    """Encoder role: strided convolutions with leaky ReLU, then a linear layer with projection.

    `shuffle` is the reach of phase shuffle (sound only), `minibatch` adds the spread of the batch
    to the last features. Batch norm makes a score depend on the batch: not with a gradient penalty.
    """

    def __init__(
        self,
        spec: Spec,
        out: int,
        width: int = 32,
        kernel: int = 5,
        stride: int = 2,
        batch_norm: bool = False,
        shuffle: int = 0,
        minibatch: bool = False,
    ):
        super().__init__()
        if shuffle and spec.rank != 1:
            raise BadInput(f"net.encoder.shuffle={shuffle}: only sound has a phase to shuffle")
        sizes = levels(spec, stride)
        channels = [spec.shape[0], *channels_of(width, len(sizes) - 1)]
        self.down = nn.ModuleList()
        for i, (inp, wide) in enumerate(pairwise(channels)):
            layers = [conv(spec.rank, inp, wide, kernel, stride)]
            if batch_norm and i:
                layers.append(BATCH_NORM[spec.rank](wide))
            layers.append(nn.LeakyReLU(0.2))
            if shuffle and i + 2 < len(channels):
                layers.append(PhaseShuffle(shuffle))
            self.down.append(nn.Sequential(*layers))
        self.std = MinibatchStd() if minibatch else nn.Identity()
        self.head = Head(spec, (channels[-1] + minibatch) * prod(sizes[-1]), out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `y (B,)` to `(B, out)`."""
        for layer in self.down:
            x = layer(x)
        return self.head(self.std(x).flatten(1), y)
