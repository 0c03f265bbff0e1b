"""Pictures: 8-bit pixels, reduced to `levels` steps where asked."""

from math import ceil, sqrt
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.modalities.base import Codec


class ImageCodec(Codec):
    """`uint8 (N, C, H, W)` arrays to ids `(N, C, H, W)`.

    `size` resizes to a square (bilinear, with antialiasing: without it distances change by large
    factors, Parmar et al. 2022). `levels` below 256 rounds to equally spaced greys; level `k`
    decodes to `round(255 k / (levels - 1))`.
    """

    modality = "image"

    def __init__(self, levels: int = 256, size: int | None = None):
        if not 2 <= levels <= 256:
            raise BadInput(f"modality.codec.levels={levels}: an image has 2 to 256 levels")
        self.levels = levels
        self.size = size

    def fit(self, parts: list[np.ndarray]) -> Self:
        """Take the shape of the pictures."""
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) != 1:
            raise BadInput(
                f"pictures of different shapes: {sorted(shapes)}; set modality.codec.size"
            )
        channels, height, width = shapes.pop()
        shape = (channels, self.size or height, self.size or width)
        self.space = Space(shape, self.levels)
        return self

    def encode(self, raw: np.ndarray) -> Tensor:
        """`uint8 (N, C, H, W)` to ids."""
        x = torch.from_numpy(np.array(raw))
        if tuple(x.shape[2:]) != self.space.shape[1:]:
            x = F.interpolate(x.float(), self.space.shape[1:], mode="bilinear", antialias=True)
        if self.levels == 256:
            return x.round().clamp(0, 255).long() if x.is_floating_point() else x.long()
        return (x.double() * ((self.levels - 1) / 255)).round().clamp(0, self.levels - 1).long()

    def decode(self, ids: Tensor) -> np.ndarray:
        """Ids to `uint8 (N, C, H, W)`."""
        return (ids.double() * (255 / (self.levels - 1))).round().to(torch.uint8).cpu().numpy()

    def field(self, ids: Tensor) -> Tensor:
        """Pixels in [0, 1], `(B, C, H, W)`."""
        return ids.float() / (self.levels - 1)

    def render(self, ids: Tensor, folder: Path) -> list[Path]:
        """One PNG with the pictures in a near-square grid."""
        from PIL import Image

        path = folder / "grid.png"
        Image.fromarray(picture_grid(self.pictures(ids))).save(path)
        return [path]

    def pictures(self, ids: Tensor) -> np.ndarray:
        """`uint8 (N, H, W, C)`."""
        return self.decode(ids).transpose(0, 2, 3, 1)

    def state(self) -> dict[str, Any]:
        """The shape."""
        return {"shape": list(self.space.shape)}

    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        self.space = Space(tuple(state["shape"]), self.levels)
        return self


def picture_grid(pictures: np.ndarray, gap: int = 1, width: int = 640) -> np.ndarray:
    """`uint8 (N, H, W, C)` to one picture about `width` pixels wide, with white gaps."""
    n, height, wide, channels = pictures.shape
    columns = ceil(sqrt(n))
    rows = ceil(n / columns)
    padded = np.full((rows * columns, height, wide, channels), 255, np.uint8)
    padded[:n] = pictures
    padded = np.pad(padded, ((0, 0), (gap, 0), (gap, 0), (0, 0)), constant_values=255)
    grid = padded.reshape(rows, columns, height + gap, wide + gap, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + gap), columns * (wide + gap), channels)
    grid = np.pad(grid, ((0, gap), (0, gap), (0, 0)), constant_values=255)
    zoom = max(1, width // grid.shape[1])
    grid = grid.repeat(zoom, axis=0).repeat(zoom, axis=1)
    return grid[..., 0] if channels == 1 else grid
