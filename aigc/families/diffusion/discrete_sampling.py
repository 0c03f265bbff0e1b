"""Samplers of tokens by `denoise(x_t, t) -> p(x_0 | x_t)`.

All have one signature, `sampler(denoise, x_T, process, rng) -> Iterator[x_t]`. Those of the
absorbing process alone use that its denoiser needs no time, and leave tokens that are not masked
as they are, so that a start with some tokens given is filled in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi

import torch
from torch import Tensor

from aigc.core.arrays import read_arrays
from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.diffusion.discrete_objective import Absorbing, Process

Denoise = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TokenSampler:
    """`steps` is the number of intervals between `t = 1` and `t = 0`."""

    steps: int = 128

    def __post_init__(self):
        if self.steps < 1:
            raise BadInput(f"sampler.steps={self.steps}: at least 1")


@dataclass(frozen=True)
class Ancestral(TokenSampler):
    """Guess `x_0`, then step back by the posterior (D3PM, Austin et al. 2021); each step evaluates
    the network."""

    def __call__(self, denoise: Denoise, x: Tensor, process: Process, rng: Rng) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        for t, s in intervals(self.steps, x):
            x_0 = pick(denoise(x, t), rng.uniform(x.shape[1]))
            x = process.step(x, x_0, t, s, *rng.uniform(2, x.shape[1]).unbind(1))
            yield x


@dataclass(frozen=True)
class MaskedSampler(TokenSampler):
    """A sampler of the absorbing process alone. `given` names an `.npz` file whose first row of
    `ids` is filled in where it is -1."""

    given: str | None = None

    def template(self) -> Tensor | None:
        """The row of ids to fill in, `(1, *shape)`."""
        if self.given is None:
            return None
        try:
            return torch.from_numpy(read_arrays(self.given)["ids"][:1].astype("int64"))
        except (BadInput, LookupError) as error:
            raise BadInput(f"sampler.given={self.given}: an .npz file with ids: {error}") from error


@dataclass(frozen=True)
class Cached(MaskedSampler):
    """Ancestral sampling that keeps a prediction while no token changes (MDLM, Sahoo et al. 2024).

    The step in which a token appears depends on no token, so each sample goes straight to its next
    change: an evaluation a change, at most one a token.
    """

    def __call__(
        self, denoise: Denoise, x: Tensor, process: Absorbing, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        masked = x == process.mask
        turn = dense_rank(self.when(x, process, rng).masked_fill(~masked, 2**62))  # given: never
        yield x
        for k in range(int(turn.masked_fill(~masked, -1).max()) + 1):
            law = denoise(x, x.new_ones(len(x), dtype=torch.float64))
            guess = pick(law, rng.uniform(x.shape[1]))
            x = torch.where(masked & (turn == k), guess, x)
            yield x

    def when(self, x: Tensor, process: Absorbing, rng: Rng) -> Tensor:
        """The step in which each token appears, `(B, T)` from 0."""
        return self._step(x, process, rng, self.steps)

    def _step(self, x: Tensor, process: Absorbing, rng: Rng, steps: int) -> Tensor:
        times = torch.arange(1, steps, dtype=torch.float64, device=x.device) / steps
        u = rng.uniform(x.shape[1])  # a token is masked at the times where u < 1 - alpha
        return steps - 1 - torch.searchsorted(1 - process.alpha(times), u, right=True)


@dataclass(frozen=True)
class SemiAutoregressive(Cached):
    """Blocks of `block` tokens from left to right, each by cached ancestral sampling with its share
    of the steps (LLaDA, Nie et al. 2025): 1 is autoregressive."""

    block: int = 16

    def __post_init__(self):
        super().__post_init__()
        if self.block < 1:
            raise BadInput(f"sampler.block={self.block}: at least 1")

    def when(self, x: Tensor, process: Absorbing, rng: Rng) -> Tensor:
        """The step in which each token appears, `(B, T)` from 0."""
        block = torch.arange(x.shape[1], device=x.device) // self.block
        steps = -(-self.steps // (int(block[-1]) + 1))
        return block * steps + self._step(x, process, rng, steps)


@dataclass(frozen=True)
class Confidence(MaskedSampler):
    """Guess all, keep the guesses of highest probability, on a cosine schedule (MaskGIT, Chang et
    al. 2022). `temperature` scales the Gumbel noise on their log-probability, which falls to 0."""

    steps: int = 16
    temperature: float = 4.5

    def __post_init__(self):
        super().__post_init__()
        if self.temperature < 0:
            raise BadInput(f"sampler.temperature={self.temperature}: at least 0")

    def __call__(
        self, denoise: Denoise, x: Tensor, process: Absorbing, rng: Rng
    ) -> Iterator[Tensor]:
        """States from `x_T` to `x_0`."""
        count = (x == process.mask).sum(1)
        for k, (t, _) in enumerate(intervals(self.steps, x), 1):
            law = denoise(x, t)
            guess = pick(law, rng.uniform(x.shape[1]))
            gumbel = -(-rng.uniform(x.shape[1]).log()).log() * self.temperature
            score = law.gather(2, guess[..., None])[..., 0].double().log()
            score = score + (1 - k / self.steps) * gumbel
            score = score.masked_fill(x != process.mask, float("inf"))
            left = self.left(k, count, (x == process.mask).sum(1))
            rank = score.argsort(dim=1, stable=True).argsort(1)  # the least confident first
            x = torch.where((x == process.mask) & (rank >= left[:, None]), guess, x)
            yield x

    def left(self, k: int, count: Tensor, masked: Tensor) -> Tensor:
        """How many tokens stay masked after step `k`, of `count` at first and `masked` now; each
        step fills at least one in, and leaves one to the last step."""
        if k == self.steps:
            return 0 * count
        left = (count * cos(pi / 2 * k / self.steps)).floor().long()
        return left.minimum(masked - 1).clamp(min=1)


def intervals(steps: int, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs `t > s` from 1 to 0, `(B,)` each."""
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64, device=x.device)
    for t, s in pairwise(times):
        yield t.expand(len(x)), s.expand(len(x))


def dense_rank(key: Tensor) -> Tensor:
    """How many different smaller values are in the row, `(B, T)`."""
    value, index = key.sort(1)
    rank = (value.diff(dim=1, prepend=value[:, :1]) != 0).long().cumsum(1)
    return torch.zeros_like(rank).scatter(1, index, rank)


def pick(law: Tensor, u: Tensor) -> Tensor:
    """A token a position from `law (B, T, V)` by uniform numbers `u (B, T)`; in double precision,
    since rounding in single lowers the temperature (Zheng et al. 2024)."""
    cdf = law.double().cumsum(2)
    return torch.searchsorted(cdf, u[..., None] * cdf[..., -1:], right=True)[..., 0].clamp(
        max=law.shape[2] - 1
    )
