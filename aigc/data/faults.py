"""What may be wrong with a whole set of samples, by strength from 0 (nothing) to 1: metrics are
tried on these."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from aigc.core.spec import Space


@dataclass(frozen=True)
class Pool:
    """Real examples `ids (N, *shape)` that stand for what a perfect model draws, the mode (class or
    cluster) of each `(N,)`, and the examples `seen` in training."""

    ids: Tensor
    modes: Tensor
    space: Space
    seen: Tensor

    @property
    def ordered(self) -> Tensor:
        """Which ids may be read as numbers, to be broadcast over examples."""
        return torch.as_tensor(self.space.ordered)


Fault = Callable[[Pool, Tensor, float, Generator], tuple[Tensor, Tensor]]


def noise(pool: Pool, rows: Tensor, strength: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """Gaussian noise of half that share of the range; other examples' values of unordered ids."""
    ids, top = pool.ids[rows], torch.as_tensor(pool.space.levels) - 1
    moved = ids + 0.5 * strength * top * torch.randn(ids.shape, generator=rng)
    moved = torch.minimum(moved.round().long().clamp(min=0), top)
    other = pool.ids[rows[torch.randperm(len(rows), generator=rng)]]
    swap = torch.rand(ids.shape, generator=rng) < strength
    return torch.where(pool.ordered, moved, torch.where(swap, other, ids)), rows


def blur(pool: Pool, rows: Tensor, strength: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """That share of the way to the mean of all examples; the commonest value of unordered ids."""
    ids, flat = pool.ids[rows], pool.ids.flatten(1)
    mean = flat.double().mean(0).view(ids.shape[1:])
    drawn = (ids + strength * (mean - ids)).round().long()
    common = flat.mode(0).values.view(ids.shape[1:])
    if isinstance(pool.space.levels, int):  # one alphabet at all places
        common = flat.flatten().mode().values
    swap = torch.rand(ids.shape, generator=rng) < strength
    return torch.where(pool.ordered, drawn, torch.where(swap, common, ids)), rows


def dropped(pool: Pool, rows: Tensor, strength: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """That share of the modes is missing; the others take their place."""
    count = int(pool.modes.max()) + 1
    kept = pool.modes < count - round(strength * count)
    spare = torch.randperm(len(pool.ids), generator=rng)
    spare = spare[kept[spare] & ~torch.isin(spare, rows)]
    rows = torch.cat([rows[kept[rows]], spare])
    return pool.ids[rows], rows


def duplicates(pool: Pool, rows: Tensor, strength: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """That share of the examples are copies of the others."""
    distinct = max(1, round((1 - strength) * len(rows)))
    rows = rows[torch.arange(len(rows)) % distinct]
    return pool.ids[rows], rows


def copies(pool: Pool, rows: Tensor, strength: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """That share of the examples are training examples."""
    ids, count = pool.ids[rows].clone(), round(strength * len(rows))
    ids[:count] = pool.seen[torch.randperm(len(pool.seen), generator=rng)[:count]]
    return ids, rows


FAULTS: dict[str, Fault] = {
    "noise": noise,
    "blur": blur,
    "dropped": dropped,
    "duplicates": duplicates,
    "copies": copies,
}


def faulty(pool: Pool, fault: str, strength: float, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`n` examples of the pool with a fault: ids, and from which rows they come (for labels); of
    one seed the same examples at every strength."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(pool.ids), generator=rng)[:n]
    ids, rows = FAULTS[fault](pool, rows, strength, rng)
    return ids[torch.arange(n) % len(ids)], rows[torch.arange(n) % len(rows)]
