"""The one data module: an endless shuffled stream cut at the budget, and validation in order.

A run has one long epoch. Example `j` of the run is `permutation(j // n)[j % n]`, a function of the
seed and the count of examples seen: budgets are exact, and a position is one number.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import ceil
from threading import Event, Thread
from time import monotonic
from typing import Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import permuted, seeds
from aigc.core.spec import Batch
from aigc.data.store import Store

GRACE = 5  # seconds after STALL
STALL = 300  # seconds after which a worker that gives no batch is an error
HELD = 2**24  # examples above which an order is computed place by place instead of held
RESIDENT_BYTES = 4 * 2**30  # keep ids on the device up to this size
COPIED_BYTES = 2**28  # and in the memory of a CPU, which maps larger files
BALANCES = ("balanced", "square_root")


class Indices:
    """Index batches of one rank: shuffled passes over `n` examples, or one pass in order.

    `done` batches are left out at the beginning; the length counts them.
    """

    def __init__(
        self,
        n: int,
        batch: int,
        total: int,
        seed: int | None,
        rank: int = 0,
        world: int = 1,
        done: int = 0,
    ):
        self.n, self.batch, self.total, self.seed = n, batch, total, seed
        self.rank, self.world, self.done = rank, world, done
        self._permutation = lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return ceil(self.total / self.batch)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(self.done * self.batch, self.total, self.batch):
            stop = (
                start + self.batch if self.seed is not None else min(start + self.batch, self.total)
            )
            yield self.take(start, stop)[self.rank :: self.world]

    def take(self, start: int, stop: int) -> Tensor:
        """Indices of examples `start` to `stop` of the stream."""
        parts = []
        while start < stop:
            turn, offset = divmod(start, self.n)
            count = min(self.n - offset, stop - start)
            parts.append(self._rows(turn, offset, count))
            start += count
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _rows(self, turn: int, offset: int, count: int) -> Tensor:
        if self.n <= HELD and self.seed is not None:
            return self._permutation(turn)[offset : offset + count]
        at = torch.arange(offset, offset + count)
        return at if self.seed is None else permuted(at, self.n, seeds(self.seed, turn))

    def _shuffle(self, turn: int) -> Tensor:
        generator = torch.Generator().manual_seed(seeds(self.seed, turn))
        return torch.randperm(self.n, generator=generator)


class Balanced(Indices):
    """Index batches in which classes have quotas: every pass over `n` positions holds exactly
    `quotas(...)` of each, and a class runs through all of its examples before it repeats one."""

    def __init__(self, labels: np.ndarray, balance: str, *args):
        super().__init__(len(labels), *args)
        sizes = quotas(np.bincount(labels), balance, len(labels))
        self.classes = []
        for k in np.flatnonzero(sizes).tolist():
            rows = torch.from_numpy(np.flatnonzero(labels == k))
            stream = Indices(len(rows), 1, 0, seeds(self.seed, k, 1))
            self.classes.append((rows, stream, int(sizes[k])))

    def _rows(self, turn: int, offset: int, count: int) -> Tensor:
        return self._permutation(turn)[offset : offset + count]

    def _shuffle(self, turn: int) -> Tensor:
        parts = [
            rows[stream.take(turn * size, (turn + 1) * size)] for rows, stream, size in self.classes
        ]
        return torch.cat(parts)[super()._shuffle(turn)]


def quotas(counts: np.ndarray, balance: str, total: int) -> np.ndarray:
    """How many of `total` positions each class gets: equally many (`balanced`), or in proportion
    to the root of how many examples it has (`square_root`; Mahajan et al. 2018)."""
    if balance not in BALANCES:
        raise unknown("balance", balance, BALANCES)
    weights = counts > 0 if balance == "balanced" else np.sqrt(counts)
    exact = total * weights / weights.sum()
    sizes = np.floor(exact).astype(int)
    rest = np.argsort(sizes - exact, kind="stable")[: total - sizes.sum()]  # largest remainders
    sizes[rest] += 1
    return sizes


class Resident:
    """Batches gathered on the device from ids that lie there: no workers, no copies, no
    collation."""

    def __init__(self, ids: np.ndarray, labels: np.ndarray | None, indices: Indices, device: str):
        wide = ids.astype(np.int32) if ids.dtype == np.uint16 else np.array(ids)
        self.ids = torch.from_numpy(wide).to(device)
        self.y = None if labels is None else torch.from_numpy(labels).to(device)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Batch]:
        for index in self.indices:
            index = index.to(self.ids.device)
            yield Batch(self.ids[index].long(), None if self.y is None else self.y[index])


class Mapped(Dataset):
    """Batches read from memory-mapped ids, for worker processes."""

    def __init__(self, ids: np.ndarray, labels: np.ndarray | None):
        self.ids, self.labels = ids, labels

    def __len__(self) -> int:
        return len(self.ids)

    def __getitems__(self, index: Tensor) -> Batch:
        """One gather a batch."""
        rows = np.asarray(index)
        ids = torch.from_numpy(self.ids[rows].astype(np.int64))
        return Batch(ids, None if self.labels is None else torch.from_numpy(self.labels[rows]))


class Workers(DataLoader):
    """Batches by processes, of which none is left and for none of which a run waits forever: one
    that is stopped (SIGSTOP) hears no SIGTERM, and a batch that it is handing over never comes."""

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        if not self.num_workers:
            yield from batches
            return
        over, self.since = Event(), None
        Thread(target=self._watch, args=(batches._workers, over), daemon=True).start()
        try:
            while True:
                self.since = monotonic()
                batch = next(batches, None)
                self.since = None
                if batch is None:
                    return
                yield batch
        except (ConnectionError, EOFError) as error:  # what is left of the pipe to one that died
            raise RuntimeError(f"a DataLoader worker has died, perhaps killed: {error}") from error
        finally:
            over.set()
            batches._shutdown_workers()  # waits for seconds; torch forgets them then
            for worker in batches._workers:
                worker.kill()

    def _watch(self, workers: list, over: Event) -> None:
        """Kill the workers where `timeout`, which looks at the queue alone, has not helped."""
        while not over.wait(1):
            since = self.since
            if since is not None and monotonic() - since > self.timeout + GRACE:
                for worker in workers:
                    worker.kill()
                return


class DataModule(L.LightningDataModule):
    """Serves `Batch(ids, y)`; `batch_size` is global and split over the devices.

    `examples` is the length of the run. `where` is `device` (ids resident), `workers`, or `auto`.
    `balance` evens out how often classes are trained on; validation is left as it is.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        examples: int,
        seed: int = 0,
        where: Literal["auto", "device", "workers"] = "auto",
        workers: int = 2,
        balance: Literal["balanced", "square_root"] | None = None,
    ):
        super().__init__()
        self.store, self.batch_size, self.examples, self.seed = store, batch_size, examples, seed
        self.where, self.workers, self.balance = where, workers, balance
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """Batches that are done, and over how many processes each was split."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
        return {"done": done, "world": self.trainer.world_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin where a checkpoint was written; BadInput on another number of processes."""
        if state["world"] != self.trainer.world_size:
            raise BadInput(
                f"the unfinished run is split over {state['world']} processes, this one over "
                f"{self.trainer.world_size}: use as many, or begin afresh by resume=never"
            )
        self.done = state["done"]

    def train_dataloader(self) -> Resident | DataLoader:
        """The stream, `ceil(examples / batch_size)` batches long."""
        return self._loader("train", self.batch_size, self.examples, self.seed, self.done)

    def val_dataloader(self) -> Resident | DataLoader:
        """The validation split in order."""
        total = self.store.meta["counts"]["validation"]
        return self._loader("validation", max(self.batch_size, 256), total, None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        """Resident batches are there already."""
        if batch.ids.device == device:
            return batch
        return Batch(*(None if x is None else x.to(device, non_blocking=True) for x in batch))

    def _loader(self, split: str, batch: int, total: int, seed: int | None, done: int = 0):
        rank, world, device = 0, 1, "cpu"
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            device = self.trainer.strategy.root_device
        if batch % world and seed is not None:
            raise BadInput(f"batch_size={batch} does not divide over {world} devices")
        ids, labels = self.store.ids(split), self.store.labels(split)
        indices = Indices(len(ids), batch, total, seed, rank, world, done)
        if self.balance and seed is not None:
            if labels is None or labels.ndim > 1:
                raise BadInput(f"balance={self.balance}: these data have no classes")
            indices = Balanced(labels, self.balance, batch, total, seed, rank, world, done)
        most = COPIED_BYTES if str(device) == "cpu" else RESIDENT_BYTES
        fits = ids.nbytes <= most
        if self.where == "device" or (self.where == "auto" and fits):
            return Resident(ids, labels, indices, device)
        return Workers(
            Mapped(ids, labels),
            batch_sampler=indices,
            collate_fn=_as_is,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=False,
            timeout=STALL if self.workers else 0,
        )


def _as_is(batch: Batch) -> Batch:
    return batch
