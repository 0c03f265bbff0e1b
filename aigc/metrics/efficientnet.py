"""EfficientNet-Lite0 (Tan & Le 2019), trained on ImageNet: features of pictures."""

from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.metrics.features import EXTRACTORS
from aigc.metrics.pretrained import read

SIZE = 224
HALVES = (1, 3, 5, 11)  # blocks that halve the picture
BLOCKS = 16
EPSILON = 1e-3


class EfficientNet:
    """Averaged features of the last layer, 1,280 a picture. A Frechet distance on them is not the
    FID of Inception."""

    source, modalities, id = "data", frozenset({"image"}), "efficientnet-lite0"
    file = "efficientnet_lite0/efficientnet_lite0_fp16.safetensors"
    sha256 = "852136b280f86f7df20f5e387637ab62ad85676e593051d23db678a8cbe26ca0"

    def __init__(self, path: Path, modality: str = "image"):
        self.weights, self.sha = read(path, self.sha256), self.sha256[:6]

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> Tensor:
        """`uint8 (n, 1 or 3, H, W)` to `(n, 1280)`."""
        if pictures.shape[1] not in (1, 3):
            raise BadInput(f"'{self.id}' looks at 1 or 3 channels, not {pictures.shape[1]}")
        parts = torch.from_numpy(pictures).split(64)
        return torch.cat([self._features(part.float()) for part in parts]).double()

    def _features(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)
        x = (x.expand(-1, 3, -1, -1) - 127) / 128
        h = F.relu6(self._conv(x, "_conv_stem", "_bn0", stride=2))
        for i in range(BLOCKS):
            h = self._block(h, f"_blocks.{i}.", 2 if i in HALVES else 1)
        return F.relu6(self._conv(h, "_conv_head", "_bn1")).mean((2, 3))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        """A mobile inverted bottleneck (Sandler et al. 2018)."""
        h = x
        if f"{name}_expand_conv.weight" in self.weights:
            h = F.relu6(self._conv(h, f"{name}_expand_conv", f"{name}_bn0"))
        h = self._conv(h, f"{name}_depthwise_conv", f"{name}_bn1", stride, groups=h.shape[1])
        h = self._conv(F.relu6(h), f"{name}_project_conv", f"{name}_bn2")
        return x + h if h.shape == x.shape else h

    def _conv(self, x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        """A convolution and the normalisation after it."""
        weight = self.weights[f"{conv}.weight"]
        h = F.conv2d(pad_same(x, weight.shape[-1], stride), weight, None, stride, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, shift = (self.weights[f"{norm}.{name}"] for name in names)
        return F.batch_norm(h, mean, var, scale, shift, eps=EPSILON)


def pad_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's `SAME`: as many outputs as inputs over the stride, the odd zero at the end."""
    pads = []
    for size in reversed(x.shape[2:]):
        total = max((ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


EXTRACTORS.add("efficientnet", EfficientNet)
