"""LPIPS, the perceptual distance of Zhang et al. 2018, from a local file of weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput

STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
POOLED = (1, 2)  # convolutions that a max pool comes before
SMALLEST = 64  # pictures with shorter sides are enlarged: AlexNet's pools leave nothing of them


class LPIPS:
    """`weight` times the mean distance of pictures in [-1, 1], through AlexNet's five layers.

    `file` is a safetensors file with `convs.i.weight`, `convs.i.bias` and `lins.i`. It is read on
    first use and never stored with a run: a trained model samples without it.
    """

    def __init__(self, file: str, weight: float = 1.0):
        self.file, self.weight = Path(file), weight
        self._weights: dict[str, Tensor] = {}

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """A scalar for pictures `(B, 1 or 3, H, W)`."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise BadInput("model/perceptual=lpips compares pictures of one or three channels")
        return self.weight * self.distance(x, x_hat).mean()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """`(B,)` (eq. 1)."""
        weights = self._on(a.device)
        total = a.new_zeros(len(a))
        for i, (p, q) in enumerate(zip(self._features(a), self._features(b))):
            squared = (_unit(p) - _unit(q)).square() * weights[f"lins.{i}"]
            total = total + squared.sum(1).mean((1, 2))
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        shift, scale = x.new_tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])[
            ..., None, None
        ]
        if min(x.shape[2:]) < SMALLEST:
            factor = SMALLEST / min(x.shape[2:])
            size = [round(side * factor) for side in x.shape[2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        h, out = (x - shift) / scale, []
        for i, (stride, padding) in enumerate(zip(STRIDES, PADDINGS)):
            h = F.max_pool2d(h, 3, 2) if i in POOLED else h
            w, b = (self._weights[f"convs.{i}.{part}"] for part in ("weight", "bias"))
            h = F.conv2d(h, w, b, stride, padding).relu()
            out.append(h)
        return out

    def _on(self, device: torch.device) -> dict[str, Tensor]:
        if not self._weights:
            if not self.file.is_file():
                raise BadInput(f"model.perceptual.file={self.file} is not there")
            self._weights = {k: v.float() for k, v in load_file(self.file).items()}
        if self._weights["lins.0"].device != device:
            self._weights = {k: v.to(device) for k, v in self._weights.items()}
        return self._weights


def _unit(h: Tensor) -> Tensor:
    """Features of length one at every place."""
    return h / (h.square().sum(1, keepdim=True) + 1e-20).sqrt()
