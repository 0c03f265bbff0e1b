"""The residual generator and critic of SNGAN (Miyato et al. 2018, appendix B.4)."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.adversarial import Entry, Head, MinibatchStd, levels
from aigc.nets.condition import condition
from aigc.nets.growing import growing
from aigc.nets.layers import conv
from aigc.nets.strided import BATCH_NORM, channels_of

POOL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


class ConditionalNorm(nn.Module):
    """Batch norm whose scale and shift depend on the label (Dumoulin et al. 2017)."""

    def __init__(self, spec: Spec, channels: int, width: int = 64):
        super().__init__()
        given = spec.classes or spec.caption
        self.norm = BATCH_NORM[spec.rank](channels, affine=not given)
        self.affine = nn.Linear(width, 2 * channels) if given else None
        if given:
            nn.init.normal_(self.affine.weight, std=0.02)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """`x (B, C, *S)`, `emb (B, width)`."""
        x = self.norm(x)
        if self.affine is None:
            return x
        scale, shift = self.affine(emb).view(len(x), 2, -1, *[1] * (x.ndim - 2)).unbind(1)
        return x * (1 + scale) + shift


class UpBlock(nn.Module):
    """Norm, ReLU, enlarge, convolve, norm, ReLU, convolve, beside an enlarged skip."""

    def __init__(self, spec: Spec, inp: int, out: int, size: tuple[int, ...]):
        super().__init__()
        self.size = size
        self.norm1, self.norm2 = ConditionalNorm(spec, inp), ConditionalNorm(spec, out)
        self.conv1, self.conv2 = growing(spec.rank, inp, out), conv(spec.rank, out, out)
        self.skip = conv(spec.rank, inp, out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """`x (B, inp, *S)` to `(B, out, *size)`."""
        h = self.conv1(F.relu(self.norm1(x, emb)), self.size)
        h = self.conv2(F.relu(self.norm2(h, emb)))
        return h + F.interpolate(self.skip(x), self.size)


class DownBlock(nn.Module):
    """ReLU, convolve, ReLU, convolve, average down to `size`, beside an averaged skip."""

    def __init__(self, rank: int, inp: int, out: int, size: tuple[int, ...]):
        super().__init__()
        self.size, self.pool = size, POOL[rank]
        self.conv1 = conv(rank, inp, inp)
        self.conv2 = conv(rank, inp, out)
        self.skip = conv(rank, inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x (B, inp, *S)` to `(B, out, *size)`."""
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        return self.pool(h, self.size) + self.skip(self.pool(x, self.size))


class ResNetDecoder(nn.Module):
    """Decoder role: a linear layer, then a block for each doubling of the size."""

    def __init__(self, spec: Spec, latent: int, width: int = 32):
        super().__init__()
        sizes = levels(spec, 2)[::-1]
        channels = channels_of(width, len(sizes))[::-1]
        self.size, self.label = sizes[0], condition(spec, 64)
        self.inp = Entry(spec, latent, channels[0] * prod(sizes[0]))
        self.blocks = nn.ModuleList(
            UpBlock(spec, *step) for step in zip(channels, channels[1:], sizes[1:])
        )
        self.norm = ConditionalNorm(spec, channels[-1])
        self.out = conv(spec.rank, channels[-1], spec.shape[0])

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)` to `(B, C, *S)`."""
        emb = self.label(y, z)
        h = self.inp(z, y).view(len(z), -1, *self.size)
        for block in self.blocks:
            h = block(h, emb)
        return self.out(F.relu(self.norm(h, emb)))


class ResNetEncoder(nn.Module):
    """Encoder role: a block for each halving of the size and one more, sum over positions, a linear
    layer with projection. `minibatch` adds the spread of the batch."""

    def __init__(
        self,
        spec: Spec,
        out: int,
        width: int = 32,
        minibatch: bool = False,
    ):
        super().__init__()
        sizes = levels(spec, 2)
        channels = channels_of(width, len(sizes))
        self.inp = conv(spec.rank, spec.shape[0], width)
        steps = zip(channels, [*channels[1:], channels[-1]], [*sizes[1:], sizes[-1]])
        self.blocks = nn.Sequential(*(DownBlock(spec.rank, *step) for step in steps))
        self.std = MinibatchStd() if minibatch else nn.Identity()
        self.head = Head(spec, channels[-1] + minibatch, out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `y (B,)` to `(B, out)`."""
        h = self.std(F.relu(self.blocks(self.inp(x))))
        return self.head(h.flatten(2).sum(2), y)
