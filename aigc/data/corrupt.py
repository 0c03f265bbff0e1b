"""What goes wrong with data on its way, by strength from 0 (nothing) to 1, on ids: for the report
on robustness."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.data.augment import ColumnSwap, Gain, TokenDropout
from aigc.modalities.base import Codec

Corruption = Callable[[Tensor, Codec], Tensor]  # as an augmentation


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of `sigma` pixels, edges repeated."""

    sigma: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        if self.sigma <= 0:
            return ids
        reach = min(round(3 * self.sigma) or 1, *(side - 1 for side in ids.shape[-2:]))
        at = torch.arange(-reach, reach + 1, device=ids.device)
        weight = torch.exp(-0.5 * (at / self.sigma) ** 2)
        kernel = torch.outer(weight, weight) / weight.sum() ** 2
        channels = ids.flatten(0, 1)[:, None].float()
        padded = F.pad(channels, [reach] * 4, mode="replicate")
        return F.conv2d(padded, kernel[None, None]).round().long().view(ids.shape)


@dataclass(frozen=True)
class PixelNoise:
    """Gaussian noise with a standard deviation of that share of the range."""

    share: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        top = codec.space.levels - 1
        noise = self.share * top * torch.randn(ids.shape, device=ids.device)
        return (ids + noise).round().clamp(0, top).long()


@dataclass(frozen=True)
class Occlusion:
    """A square of level 0 somewhere, with sides of that share (DeVries & Taylor 2017)."""

    share: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        hidden = torch.ones(len(ids), 1, 1, 1, dtype=torch.bool, device=ids.device)
        for axis in (2, 3):
            side = ids.shape[axis]
            size = round(self.share * side)
            start = torch.randint(side - size + 1, (len(ids), 1, 1, 1), device=ids.device)
            at = torch.arange(side, device=ids.device).view(-1, *[1] * (3 - axis))
            hidden = hidden & (at >= start) & (at < start + size)
        return ids.masked_fill(hidden, 0)


@dataclass(frozen=True)
class WaveNoise:
    """White noise with a standard deviation of that share of full scale."""

    share: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        wave = codec.waves(ids)
        return codec.quantize(wave + self.share * torch.randn_like(wave))


@dataclass(frozen=True)
class Clipping:
    """Cuts a sound at that share below its own peak."""

    share: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        wave = codec.waves(ids)
        limit = (1 - self.share) * wave.abs().amax(1, keepdim=True)
        return codec.quantize(wave.clamp(-limit, limit))


@dataclass(frozen=True)
class Missing:
    """Loses cells with probability `p`: the missing level of a column that has one, else the
    column's commonest value."""

    p: float

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, columns)`."""
        gaps = torch.tensor([bool(c["missing"]) for c in codec.columns], device=ids.device)
        fill = torch.where(gaps, 0, ids.mode(0).values)
        return torch.where(torch.rand(ids.shape, device=ids.device) < self.p, fill, ids)


CORRUPTIONS: dict[str, dict[str, Callable[[float], Corruption]]] = {
    "image": {
        "blur": lambda strength: Blur(2 * strength),
        "noise": PixelNoise,
        "occlusion": Occlusion,
    },
    "text": {"substitution": TokenDropout},
    "audio": {
        "noise": WaveNoise,
        "gain": lambda strength: Gain(1 - strength, 1 - strength),
        "clipping": Clipping,
    },
    "tabular": {"missing": Missing, "shuffle": ColumnSwap},
}
