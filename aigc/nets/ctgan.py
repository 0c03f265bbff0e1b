"""The generator and critic of CTGAN (Xu et al. 2019, section 4.4) for rows of a table."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.adversarial import Entry, Head, noise_of

BIT = 2.0  # the quantum of a feature that takes two values


class Widen(nn.Module):
    """`h` beside `relu(norm(linear(h)))`."""

    def __init__(self, inp: int, width: int):
        super().__init__()
        self.linear, self.norm = nn.Linear(inp, width), nn.BatchNorm1d(width)

    def forward(self, h: Tensor) -> Tensor:
        """`(B, inp)` to `(B, width + inp)`."""
        return torch.cat([F.relu(self.norm(self.linear(h))), h], 1)


class CTGANDecoder(nn.Module):
    """Decoder role: layers that each add `width` features to those before, with batch norm.

    A feature of two values (a bit of a category) is drawn by a binary Gumbel-softmax of temperature
    `tau` (Maddison et al. 2017) before the family's tanh; its noise is a function of the latent.
    """

    def __init__(self, spec: Spec, latent: int, width: int = 256, depth: int = 2, tau: float = 0.2):
        super().__init__()
        self.shape, self.tau = spec.shape, tau
        self.inp = Entry(spec, latent, width)
        self.body = nn.Sequential(*(Widen((i + 1) * width, width) for i in range(depth)))
        self.out = nn.Linear((depth + 1) * width, spec.dims)
        quantum = torch.tensor(spec.quantum).expand(spec.dims)
        self.register_buffer("bits", quantum == BIT, persistent=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)` to `(B, *shape)`."""
        h = self.out(self.body(self.inp(z, y)))
        u = torch.special.ndtr(noise_of(z, 0, h.shape[1])).clamp(1e-6, 1 - 1e-6)
        drawn = (h + torch.logit(u) / 2) / self.tau  # as tanh(l / 2) = 2 sigmoid(l) - 1
        return torch.where(self.bits, drawn, h).view(len(z), *self.shape)


class CTGANEncoder(nn.Module):
    """Encoder role: linear layers with leaky ReLU and dropout; with packing the `spec` is that of
    several rows."""

    def __init__(
        self, spec: Spec, out: int, width: int = 256, depth: int = 2, dropout: float = 0.5
    ):
        super().__init__()
        layers = []
        for inp in [spec.dims, *[width] * (depth - 1)]:
            layers += [nn.Linear(inp, width), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.body, self.head = nn.Sequential(*layers), Head(spec, width, out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, *shape)`, `y (B,)` to `(B, out)`."""
        return self.head(self.body(x.flatten(1)), y)
