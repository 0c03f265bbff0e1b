"""Plain MLPs, as papers on points in the plane use them."""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from aigc.core.spec import Spec
from aigc.nets.condition import condition


class Plain(nn.Module):
    """`depth` hidden layers of `width` with leaky ReLU, no norms; labels come as an embedding
    beside the input, which is multiplied by `gain`."""

    def __init__(self, spec: Spec, inp: int, out: int, width: int, depth: int, gain: float):
        super().__init__()
        self.label, self.gain = condition(spec, inp), gain
        layers: list[nn.Module] = []
        for a, b in pairwise([inp] + [width] * depth):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Linear(width, out))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`(B, inp)` to `(B, out)`."""
        return self.net(self.gain * x + self.label(y, x))


class PlainEncoder(nn.Module):
    """Encoder role: `(x, y) -> (B, out)`. Views scale data to [-1, 1], where small modes are steep
    to tell apart: `gain` gives the data their size back."""

    def __init__(self, spec: Spec, out: int, width: int = 64, depth: int = 2, gain: float = 1.0):
        super().__init__()
        self.net = Plain(spec, spec.dims, out, width, depth, gain)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, *shape)`, `y (B,)`."""
        return self.net(x.flatten(1), y)


class PlainDecoder(nn.Module):
    """Decoder role: `(z, y) -> (B, *shape)`."""

    def __init__(self, spec: Spec, latent: int, width: int = 64, depth: int = 2):
        super().__init__()
        self.shape = spec.shape
        self.net = Plain(spec, latent, prod(spec.shape), width, depth, 1.0)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)`."""
        return self.net(z, y).view(len(z), *self.shape)
