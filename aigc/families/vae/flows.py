"""Normalising flows over latents: maps with a known change of volume.

A flow is built for latents of `size` numbers, given `context` numbers that its map may depend on,
and returns `(y, log |det dy/dx|)`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Couplings(nn.Module):
    """Affine couplings (Dinh et al. 2017, eq. 7-9): each layer scales and shifts every other
    latent by what a small network reads in the rest. Starts as the identity."""

    def __init__(self, size: int, context: int = 0, depth: int = 6, width: int = 128):
        super().__init__()
        self.nets = nn.ModuleList()
        for _ in range(depth):
            last = nn.Linear(width, 2 * size)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            layers = nn.Linear(size + context, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
            self.nets.append(nn.Sequential(*layers, last))
        mask = torch.arange(size) % 2 == torch.arange(depth)[:, None] % 2
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x (B, size)`, `h (B, context)`."""
        total = x.new_zeros(len(x))
        for net, mask in zip(self.nets, self.mask):
            log_scale, shift = self._parts(net, mask, x, h)
            x = x * log_scale.exp() + shift
            total = total + log_scale.sum(1)
        return x, total

    def inverse(self, y: Tensor, h: Tensor | None = None) -> Tensor:
        """The `x` that `forward` takes to `y`."""
        for net, mask in zip(reversed(self.nets), self.mask.flip(0)):
            log_scale, shift = self._parts(net, mask, y, h)
            y = (y - shift) * (-log_scale).exp()
        return y

    @staticmethod
    def _parts(net: nn.Module, mask: Tensor, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = x * mask if h is None else torch.cat([x * mask, h], 1)
        log_scale, shift = net(seen).chunk(2, 1)
        return 2 * (log_scale / 2).tanh() * (1 - mask), shift * (1 - mask)


class Planar(nn.Module):
    """Planar flows `x + u tanh(w.x + b)` whose numbers come from the context (Rezende & Mohamed
    2015, eq. 10-12, and their appendix for the `u` that keeps the map invertible)."""

    def __init__(self, size: int, context: int, depth: int = 8):
        super().__init__()
        self.size, self.depth = size, depth
        self.numbers = nn.Linear(context, depth * (2 * size + 1))
        nn.init.normal_(self.numbers.weight, std=0.01)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """`x (B, size)`, `h (B, context)`."""
        total = x.new_zeros(len(x))
        for numbers in self.numbers(h).chunk(self.depth, 1):
            u, w, b = numbers.split([self.size, self.size, 1], 1)
            along = (w * u).sum(1, keepdim=True)
            excess = F.softplus(along) - 1 - along
            u = u + excess * w / (w.square().sum(1, keepdim=True) + 1e-6)
            hidden = ((w * x).sum(1, keepdim=True) + b).tanh()
            slope = 1 + (1 - hidden.square()) * (w * u).sum(1, keepdim=True)
            x, total = x + u * hidden, total + slope[:, 0].log()
        return x, total
