"""A small generator of styles: a mapping network, modulated convolutions (Karras et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.adversarial import Entry, levels, noise_of
from aigc.nets.strided import channels_of

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


class ModulatedConv(nn.Module):
    """A convolution whose kernel each style scales by input channel and, with `demodulate`, brings
    back to unit norm by output channel (equations 1 to 3)."""

    def __init__(
        self, rank: int, inp: int, out: int, style: int, kernel: int = 3, demodulate: bool = True
    ):
        super().__init__()
        self.conv, self.demodulate = CONV[rank], demodulate
        fan_in = inp * kernel**rank
        self.weight = nn.Parameter(torch.randn(out, inp, *[kernel] * rank) / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(out))
        self.style = nn.Linear(style, inp)
        nn.init.ones_(self.style.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """`x (B, inp, *S)`, `w (B, style)`: scaling the input instead of the kernel is the same
        and needs no kernel an example."""
        s = self.style(w)
        ones = [1] * (x.ndim - 2)
        h = self.conv(x * s.view(*s.shape, *ones), self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            norm = s.square() @ self.weight.square().flatten(2).sum(2).T
            h = h * (norm + 1e-8).rsqrt().view(*norm.shape, *ones)
        return h + self.bias.view(-1, *ones)


class StyleLayer(nn.Module):
    """A modulated convolution, noise if any, and a leaky ReLU that keeps the variance."""

    def __init__(self, rank: int, inp: int, out: int, style: int, salt: int, noise: bool):
        super().__init__()
        self.conv, self.salt = ModulatedConv(rank, inp, out, style), salt
        self.strength = nn.Parameter(torch.zeros(())) if noise else None

    def forward(self, x: Tensor, w: Tensor, z: Tensor) -> Tensor:
        """`x (B, inp, *S)`, style `w`, latent `z`."""
        h = self.conv(x, w)
        if self.strength is not None:
            h = h + self.strength * noise_of(z, self.salt, 1, *h.shape[2:])
        return F.leaky_relu(h, 0.2) * 2**0.5


class StyleDecoder(nn.Module):
    """Decoder role: a learned constant, enlarged by levels of two styled layers each, whose outputs
    are summed over the levels.

    `noise` adds detail that is a function of the latent, so that samples stay reproducible.
    """

    def __init__(
        self,
        spec: Spec,
        latent: int,
        width: int = 32,
        mapping: int = 3,
        style: int = 64,
        noise: bool = False,
    ):
        super().__init__()
        self.sizes, rank = levels(spec, 2)[::-1], spec.rank
        channels = channels_of(width, len(self.sizes))[::-1]
        self.inp = Entry(spec, latent, style)
        layers = [nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(style, style)) for _ in range(mapping)]
        self.mapping = nn.Sequential(*layers)
        self.constant = nn.Parameter(torch.randn(channels[0], *self.sizes[0]))
        self.layers, self.outs = nn.ModuleList(), nn.ModuleList()
        for i, (inp, out) in enumerate(zip([channels[0], *channels], channels)):
            pair = [(inp, out, style, 2 * i), (out, out, style, 2 * i + 1)]
            self.layers.append(nn.ModuleList(StyleLayer(rank, *p, noise) for p in pair))
            self.outs.append(ModulatedConv(rank, out, spec.shape[0], style, 1, demodulate=False))
        self.smooth = SMOOTH[rank]

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """`z (B, latent)`, `y (B,)` to `(B, C, *S)`."""
        w = self.mapping(self.inp(z, y))
        h, x = self.constant.expand(len(z), *self.constant.shape), 0.0
        for i, (pair, out, size) in enumerate(zip(self.layers, self.outs, self.sizes)):
            if i:
                h = F.interpolate(h, size, mode=self.smooth)
                x = F.interpolate(x, size, mode=self.smooth)
            for layer in pair:
                h = layer(h, w, z)
            x = x + out(h, w)
        return x
