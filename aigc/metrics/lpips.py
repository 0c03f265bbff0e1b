"""LPIPS: how different two pictures look to a network (Zhang et al. 2018)."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.metrics.pretrained import read

# Stride and padding of AlexNet's convolutions; the second and the third look at a pooled picture.
CONVOLUTIONS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
POOLED = (1, 2)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LPIPS:
    """Version 0.1 on AlexNet; `path` holds its convolutions and the weights of their channels."""

    least = 31  # pixels that a picture is high and wide
    id, file = "lpips-alex", "lpips_alex/lpips_alex.safetensors"
    sha256 = "cec182d28a1ef86f796e82faee12ded16c58869eb71b5512ce43022cabeac940"

    def __init__(self, path: Path):
        self.weights, self.sha = read(path, self.sha256), self.sha256[:6]

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Of pictures `(n, 1 or 3, H, W)` in [0, 1]: `(n,)`."""
        both = [self.layers(x.float().expand(-1, 3, -1, -1)) for x in (a, b)]
        total = torch.zeros(len(a))
        for i, (u, v) in enumerate(zip(*both)):
            gap = (_unit(u) - _unit(v)).square() * self.weights[f"lins.{i}"]
            total += gap.sum(1).mean((1, 2)).cpu()
        return total

    def layers(self, x: Tensor) -> list[Tensor]:
        """The five convolutional layers of AlexNet after their nonlinearity (section 3)."""
        shift, scale = (torch.tensor(v).view(3, 1, 1) for v in (SHIFT, SCALE))
        h, out = (2 * x - 1 - shift) / scale, []
        for i, (stride, padding) in enumerate(CONVOLUTIONS):
            h = F.max_pool2d(h, 3, 2) if i in POOLED else h
            weight, bias = (self.weights[f"convs.{i}.{name}"] for name in ("weight", "bias"))
            h = F.conv2d(h, weight, bias, stride, padding).relu()
            out.append(h)
        return out


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
