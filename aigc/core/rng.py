"""Random numbers by counter: what sample `i` draws depends on `(seed, i)` and nothing else.

A stateful generator makes a sample depend on its neighbours in the batch. Here each number is a
hash of (seed, sample, position), as in Salmon et al. 2011 ("Parallel random numbers: as easy as
1, 2, 3"), with the finaliser of SplitMix64 (Steele, Lea & Flood 2014). So samples do not depend
on batch size, number of devices or order.
"""

from math import pi, prod

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # as signed 64-bit; integer products wrap around
_MIX1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX2 = 0x94D049BB133111EB - 2**64
_MASK = 2**64 - 1


class Rng:
    """One stream a row: `index (B,)` holds the numbers of the samples in this batch."""

    def __init__(self, seed: int, index: Tensor):
        self.index = index
        key = _mix(torch.tensor(seed, dtype=torch.int64, device=index.device) * _GAMMA)
        self.state = _mix(key ^ _mix(index.to(torch.int64) * _MIX1 + 1))[:, None]

    def __len__(self) -> int:
        return len(self.state)

    def take(self, rows: Tensor) -> "Rng":
        """The streams of some rows, from where they are."""
        part = Rng(0, self.index[rows])
        part.state = self.state[rows]
        return part

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.state.device

    def uniform(self, *shape: int) -> Tensor:
        """Doubles `(B, *shape)` in the open interval (0, 1), 53 bits each."""
        words = self._words(prod(shape))
        return ((_shift(words, 11).double() + 0.5) * 2.0**-53).view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal floats `(B, *shape)`, two from each word by Box-Muller."""
        n = prod(shape)
        words = self._words((n + 1) // 2)
        radius = (_shift(words, 40).float() + 0.5).mul(2.0**-24).log().mul(-2).sqrt()
        angle = (words & 0xFFFFFF).float().mul(2 * pi * 2.0**-24)
        pair = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
        return pair.flatten(1)[:, :n].reshape(-1, *shape)

    def categorical(self, probs: Tensor) -> Tensor:
        """One index a row from `probs (B, V)` or `(V,)`, by inverting the cumulative sum."""
        cdf = probs.double().cumsum(-1).expand(len(self), -1)
        u = self.uniform(1) * cdf[:, -1:]
        index = torch.searchsorted(cdf.contiguous(), u, right=True)[:, 0]
        return index.clamp(max=cdf.shape[-1] - 1)

    def _words(self, n: int) -> Tensor:
        steps = torch.arange(1, n + 1, device=self.device) * _GAMMA
        words = _mix(self.state + steps)
        self.state = self.state + steps[-1:]
        return words


class Ahead(Rng):
    """The stream of another one whose single numbers are made `n` at a time: the same numbers, in
    fewer operations."""

    def __init__(self, rng: Rng, n: int):
        self.index, self.state, self.n = rng.index, rng.state, n
        self._ready, self._taken = None, 0

    def uniform(self, *shape: int) -> Tensor:
        """As `Rng.uniform`."""
        if shape != (1,):
            self._settle()
            return super().uniform(*shape)
        if self._ready is None or self._taken == self.n:
            self._settle()
            state, self._ready = self.state, super().uniform(self.n)
            self.state = state
        self._taken += 1
        return self._ready[:, self._taken - 1 : self._taken]

    def take(self, rows: Tensor) -> Rng:
        """As `Rng.take`."""
        self._settle()
        return super().take(rows)

    def _words(self, n: int) -> Tensor:
        self._settle()
        return super()._words(n)

    def _settle(self) -> None:
        """Go on behind the numbers that were taken."""
        past = (self._taken * _GAMMA + 2**63) % 2**64 - 2**63  # as signed 64-bit
        self.state, self._ready, self._taken = self.state + past, None, 0


def permuted(index: Tensor, n: int, seed: int) -> Tensor:
    """Where a random permutation of `0 ... n - 1` puts each `index`, without holding it: a Feistel
    network of four rounds on the next power of four, walked until the value is below `n` (Black &
    Rogaway 2002, "Ciphers with arbitrary finite domains")."""
    half = -(-(n - 1).bit_length() // 2)
    mask, out = (1 << half) - 1, index.clone()
    todo = torch.ones_like(index, dtype=torch.bool)
    while bool(todo.any()):
        left, right = out[todo] >> half, out[todo] & mask
        for turn in range(4):
            left, right = right, left ^ (_mix(right + seeds(seed, turn)) & mask)
        out[todo] = (left << half) | right
        todo = out >= n
    return out


def seeds(seed: int, *path: int) -> int:
    """A non-negative seed below 2**31 for a purpose named by `path`; plain integers, as it is
    called at every step."""
    x = seed
    for part in path:
        x = _mix_int(x * _GAMMA + part + 1)
    return _mix_int(x) >> 33


def _mix_int(x: int) -> int:
    """The finaliser on a Python integer, unsigned."""
    x &= _MASK
    x = (x ^ (x >> 30)) * (_MIX1 & _MASK) & _MASK
    x = (x ^ (x >> 27)) * (_MIX2 & _MASK) & _MASK
    return x ^ (x >> 31)


def _shift(x: Tensor, k: int) -> Tensor:
    """Logical right shift of signed 64-bit words."""
    return (x >> k) & ((1 << (64 - k)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)
