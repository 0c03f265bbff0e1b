"""Quantisers: vectors of a map to the nearest entries of a codebook, with gradients straight
through.

All have `size` (codes to choose from), `dim` (channels they quantise) and `depth` (codes a
position), turn `z (B, dim, *s)` into codes `(B, depth, *s)`, and `embed` turns codes back.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput


class Quantized(NamedTuple):
    """Quantised vectors that pass their gradient on, codes, and what holds the encoder to them."""

    z: Tensor
    codes: Tensor
    commitment: Tensor


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """The value of `quantized` with the gradient of `z` (Bengio et al. 2013)."""
    return z + (quantized - z).detach()


class VQ(nn.Module):
    """A codebook that follows the means of its vectors (van den Oord et al. 2017, appendix A.1).

    It starts from k-means of the first batch. A code whose average count falls below `revive` of
    an even share moves to a random vector of the batch, so that few codes stay dead.
    """

    depth = 1

    def __init__(self, size: int = 512, dim: int = 32, decay: float = 0.99, revive: float = 0.1):
        super().__init__()
        if size < 2 or dim < 1 or not 0 <= decay < 1 or revive < 0:
            raise BadInput(
                f"quantizer: size={size} (at least 2), dim={dim} (at least 1), "
                f"decay={decay} (0 to 1), revive={revive} (at least 0)"
            )
        self.size, self.dim, self.decay, self.revive = size, dim, decay, revive
        self.register_buffer("table", torch.zeros(size, dim))
        self.register_buffer("sums", torch.zeros(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._known = False  # that it has started: asking the buffer waits for the device

    def forward(self, z: Tensor) -> Quantized:
        """Codes `(B, 1, *s)`; in training the codebook follows."""
        rows = z.detach().movedim(1, -1).flatten(0, -2).float()
        with torch.autocast(z.device.type, enabled=False):  # 16 bits would name other codes
            if self.training and not self._known:
                if not self.started:
                    self._start(rows)
                self._known = True
            codes = nearest(rows, self.table).view(len(z), 1, *z.shape[2:])
            quantized = self.embed(codes)
            if self.training:
                self._follow(rows, codes.flatten())
        commitment = F.mse_loss(z, quantized)
        return Quantized(straight_through(z, quantized), codes, commitment)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes `(B, 1, *s)` to vectors `(B, dim, *s)`."""
        return F.embedding(codes[:, 0], self.table).movedim(-1, 1)

    def _start(self, rows: Tensor, turns: int = 10) -> None:
        """k-means from random rows; an empty cluster stays where it is."""
        self.table.copy_(self._picked(rows))
        for _ in range(turns):
            counts, sums = _summed(*tally(rows, nearest(rows, self.table), self.size))
            mean = sums / counts.clamp(min=1)[:, None]
            self.table.copy_(torch.where(counts[:, None] > 0, mean, self.table))
        self.counts.fill_(len(rows) / self.size)
        self.sums.copy_(self.table * self.counts[:, None])
        self.started.fill_(True)

    def _follow(self, rows: Tensor, codes: Tensor) -> None:
        """Equations 6 to 8, then revival."""
        counts, sums = _summed(*tally(rows, codes, self.size))
        share = counts.sum() / self.size
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        dead = self.counts < self.revive * share
        self.counts.copy_(torch.where(dead, share, self.counts))
        fresh = self._picked(rows) * share
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
        seen = self.counts[:, None] > 1e-6
        self.table.copy_(torch.where(seen, self.sums / self.counts[:, None], self.table))

    def _picked(self, rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (self.size,), device=rows.device)]


class ResidualVQ(nn.Module):
    """`depth` codebooks, each of what those before it leave over (Zeghidour et al. 2021, algorithm
    1)."""

    def __init__(
        self,
        size: int = 256,
        dim: int = 32,
        depth: int = 4,
        decay: float = 0.99,
        revive: float = 0.1,
    ):
        super().__init__()
        if depth < 1:
            raise BadInput(f"quantizer.depth={depth}: at least 1")
        self.size, self.dim, self.depth = size, dim, depth
        self.stages = nn.ModuleList(VQ(size, dim, decay, revive) for _ in range(depth))

    def forward(self, z: Tensor) -> Quantized:
        """Codes `(B, depth, *s)`, coarse first."""
        rest, parts = z, []
        for stage in self.stages:
            parts.append(stage(rest))
            rest = rest - parts[-1].z.detach()
        total = sum(part.z.detach() for part in parts)
        commitment = sum(part.commitment for part in parts) / self.depth
        codes = torch.cat([part.codes for part in parts], dim=1)
        return Quantized(straight_through(z, total), codes, commitment)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes `(B, depth, *s)` to vectors `(B, dim, *s)`."""
        return sum(stage.embed(part) for stage, part in zip(self.stages, codes.split(1, dim=1)))


class FSQ(nn.Module):
    """Finite scalar quantisation: each channel is squashed and rounded to one of its `levels`, so
    that there is no codebook to collapse (Mentzer et al. 2023)."""

    depth = 1

    def __init__(self, levels: list[int] = (8, 8, 8)):
        super().__init__()
        if min(levels, default=0) < 3:
            raise BadInput(f"quantizer.levels={list(levels)}: each at least 3")
        self.size, self.dim = prod(levels), len(levels)
        place = torch.tensor([prod(levels[:i]) for i in range(len(levels))])
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, z: Tensor) -> Quantized:
        """Codes `(B, 1, *s)`; nothing to commit to."""
        bounded = self._bounded(z.movedim(1, -1))
        digits = bounded.detach().round()
        quantized = straight_through(bounded, digits) / (self.levels // 2)
        codes = ((digits.long() + self.levels // 2) * self.place).sum(-1)
        return Quantized(quantized.movedim(-1, 1), codes[:, None], z.new_zeros(()))

    def embed(self, codes: Tensor) -> Tensor:
        """Codes `(B, 1, *s)` to vectors in [-1, 1], `(B, dim, *s)`."""
        digits = codes[:, 0, ..., None] // self.place % self.levels - self.levels // 2
        return (digits / (self.levels // 2)).movedim(-1, 1)

    def _bounded(self, z: Tensor) -> Tensor:
        """Into an interval that rounds to exactly `levels` integers; even ones need a shift."""
        half = (self.levels - 1) / 2 * (1 - 1e-3)
        offset = (self.levels % 2 == 0) * 0.5
        return half * (z + torch.atanh(offset / half)).tanh() - offset


def nearest(rows: Tensor, table: Tensor) -> Tensor:
    """The index `(N,)` of the nearest entry of `table (K, D)` to each of `rows (N, D)`."""
    return (table.square().sum(1) - 2 * rows @ table.T).argmin(1)


def tally(rows: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many rows have each code `(K,)`, and their sum `(K, D)`."""
    one_hot = F.one_hot(codes, size).to(rows)
    return one_hot.sum(0), one_hot.T @ rows


def usage(codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Perplexity of the codes in use and the share of all codes that occur: both fall when a
    codebook collapses."""
    flat = codes.flatten()
    counts = flat.new_zeros(size).scatter_add_(0, flat, torch.ones_like(flat))
    share = counts / len(flat)  # bincount would wait for the device
    return torch.exp(torch.special.entr(share).sum()), (share > 0).float().mean()


def spectral_distance(x: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of log magnitudes of sounds `(B, C, T)` at three resolutions: two
    phases of one sound are close (Yamamoto et al. 2020, eq. 6)."""
    total = x.new_zeros(())
    sizes = [size for size in (64, 256, 1024) if size <= x.shape[-1]]
    for size in sizes:
        window = torch.hann_window(size, device=x.device)
        log_x, log_other = (
            torch.stft(h.flatten(0, 1), size, size // 4, window=window, return_complex=True)
            .abs()
            .add(0.05)  # below lies the noise of quantised sound
            .log()
            for h in (x, other)
        )
        total = total + F.l1_loss(log_x, log_other) / len(sizes)
    return total


def _summed(counts: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Over all processes, so that every codebook is the same."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
        torch.distributed.all_reduce(sums)
    return counts, sums
