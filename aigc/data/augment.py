"""Augmentation: small random changes of training examples, on ids and on the device.

Each is a frozen object whose fields are its strength, with `(ids (B, *shape), codec) -> ids`.
Training batches alone are changed: validation, test and reference data never pass here, so a
likelihood is always that of the data as they are, also for a model that learned from changed ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import lightning as L
import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Batch
from aigc.modalities.base import Codec


class Augmentation(Protocol):
    """Changes ids of one of `modalities`; draws from torch's global generator."""

    modalities: ClassVar[frozenset[str]]

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """New ids of the same shape, all of them valid."""


class Augment(L.Callback):
    """Applies augmentations in order to each training batch, in place.

    It comes after the callback that seeds a batch, so what it draws is a function of (seed, batch,
    rank).
    """

    def __init__(self, augmentations: Sequence[Augmentation]):
        self.augmentations = augmentations

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Batch, index: int):
        codec = trainer.datamodule.store.codec
        for augmentation in self.augmentations:
            batch.ids.copy_(augmentation(batch.ids, codec))


def check(one: Augmentation, modality: str) -> None:
    """Raise BadInput for an augmentation of another modality, or a probability that is none."""
    name = type(one).__name__.lower()
    if modality not in one.modalities:
        raise BadInput(f"augment={name}: for {', '.join(sorted(one.modalities))}, not {modality}")
    for field in ("p", "share"):
        if not 0 <= getattr(one, field, 0) <= 1:
            raise BadInput(f"augment.{name}.{field}={getattr(one, field)}: between 0 and 1")


def chance(p: float, like: Tensor) -> Tensor:
    """True with probability `p` for each example, `(B, 1, ...)` to broadcast over `like`."""
    return torch.rand(len(like), *[1] * (like.ndim - 1), device=like.device) < p


def span(share: float, length: int, like: Tensor) -> Tensor:
    """One random span of at most `share` of `length` positions for each example, `(B, length)`
    bool (SpecAugment, Park et al. 2019)."""
    size = (torch.rand(len(like), 1, device=like.device) * (share * length + 1)).floor()
    start = (torch.rand(len(like), 1, device=like.device) * (length - size + 1)).floor()
    at = torch.arange(length, device=like.device)
    return (at >= start) & (at < start + size)


@dataclass(frozen=True)
class Flip:
    """Mirrors left and right."""

    p: float = 0.5
    modalities = frozenset({"image"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        return torch.where(chance(self.p, ids), ids.flip(-1), ids)


@dataclass(frozen=True)
class Crop:
    """Moves by at most `padding` pixels; what comes in is level 0 (He et al. 2016)."""

    padding: int = 2
    modalities = frozenset({"image"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        batch, height, width = len(ids), *ids.shape[-2:]
        padded = F.pad(ids, [self.padding] * 4)
        top, left = torch.randint(2 * self.padding + 1, (2, batch, 1), device=ids.device)
        rows = top + torch.arange(height, device=ids.device)
        columns = left + torch.arange(width, device=ids.device)
        each = torch.arange(batch, device=ids.device)[:, None, None]
        return padded[each, :, rows[:, :, None], columns[:, None]].movedim(-1, 1)


@dataclass(frozen=True)
class Colour:
    """Brightness by at most that share of the range, contrast about the mean by at most that
    factor."""

    brightness: float = 0.1
    contrast: float = 0.1
    modalities = frozenset({"image"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, C, H, W)`."""
        top = codec.space.levels - 1
        shift, scale = 2 * torch.rand(2, len(ids), 1, 1, 1, device=ids.device) - 1
        mean = ids.float().mean((1, 2, 3), keepdim=True)
        x = (ids - mean) * (1 + self.contrast * scale) + mean + self.brightness * top * shift
        return x.round().clamp(0, top).long()


@dataclass(frozen=True)
class TokenDropout:
    """Puts a token of another place in the batch for each token, with probability `p`: often ones
    come often (Xie et al. 2017, unigram noise). What closes prompts and completions stays."""

    p: float = 0.1
    modalities = frozenset({"text"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, T)`."""
        return self.replaced(ids, torch.rand(ids.shape, device=ids.device) < self.p, codec)

    def replaced(self, ids: Tensor, where: Tensor, codec: Codec) -> Tensor:
        """Other tokens at the places `where` that may change."""
        other = ids.flatten()[torch.randint(ids.numel(), ids.shape, device=ids.device)]
        end = codec.space.end
        return torch.where(where & (ids != end) & (other != end), other, ids)


@dataclass(frozen=True)
class SpanMask(TokenDropout):
    """The same for one span of at most `share` of the tokens."""

    p: float = 1.0
    share: float = 0.2

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, T)`."""
        where = span(self.share, ids.shape[1], ids) & chance(self.p, ids)
        return self.replaced(ids, where, codec)


@dataclass(frozen=True)
class Gain:
    """Scales a sound by a factor between `low` and `high`."""

    low: float = 0.5
    high: float = 1.0
    modalities = frozenset({"audio"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        factor = self.low + (self.high - self.low) * torch.rand(len(ids), 1, device=ids.device)
        return codec.quantize(codec.waves(ids) * factor)


@dataclass(frozen=True)
class Shift:
    """Moves a sound in time by at most `share` of its length; what comes in is silence."""

    share: float = 0.05
    modalities = frozenset({"audio"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        wave = codec.waves(ids)
        length = wave.shape[1]
        most = round(self.share * length)
        by = torch.randint(-most, most + 1, (len(ids), 1), device=ids.device)
        at = torch.arange(length, device=ids.device) - by
        inside = (at >= 0) & (at < length)
        return codec.quantize(wave.gather(1, at.clamp(0, length - 1)) * inside)


@dataclass(frozen=True)
class TimeMask:
    """Silences one span of at most `share` of the time (Park et al. 2019)."""

    share: float = 0.1
    modalities = frozenset({"audio"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        wave = codec.waves(ids)
        return codec.quantize(wave * ~span(self.share, wave.shape[1], ids))


@dataclass(frozen=True)
class FrequencyMask:
    """Removes one band of at most `share` of the frequencies (Park et al. 2019, on the whole
    sound)."""

    share: float = 0.1
    modalities = frozenset({"audio"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, 1, T)`."""
        wave = codec.waves(ids)
        spectrum = torch.fft.rfft(wave)
        spectrum = spectrum * ~span(self.share, spectrum.shape[1], ids)
        return codec.quantize(torch.fft.irfft(spectrum, wave.shape[1]))


@dataclass(frozen=True)
class ColumnSwap:
    """Exchanges values of a column between pairs of rows, each with probability `p`: the marginals
    stay exactly as they are."""

    p: float = 0.1
    modalities = frozenset({"tabular"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, columns)`."""
        half = len(ids) // 2
        order = torch.rand(ids.shape, device=ids.device).argsort(0)  # pairs of each column
        one, other = order[:half], order[half : 2 * half]
        a, b = ids.gather(0, one), ids.gather(0, other)
        swap = torch.rand(a.shape, device=ids.device) < self.p
        out = ids.scatter(0, one, torch.where(swap, b, a))
        return out.scatter(0, other, torch.where(swap, a, b))


@dataclass(frozen=True)
class Jitter:
    """Moves the ordered columns by Gaussian noise of `scale` levels; a missing value stays one."""

    scale: float = 1.0
    modalities = frozenset({"tabular"})

    def __call__(self, ids: Tensor, codec: Codec) -> Tensor:
        """`(B, columns)`."""
        space = codec.space
        low = torch.tensor([int(c["missing"]) for c in codec.columns], device=ids.device)
        top = torch.tensor(space.levels, device=ids.device) - 1
        moved = (ids + self.scale * torch.randn(ids.shape, device=ids.device)).round().long()
        moved = torch.minimum(torch.maximum(moved, low), top)
        ordered = torch.tensor(space.ordered, device=ids.device)
        return torch.where(ordered & (ids >= low), moved, ids)
