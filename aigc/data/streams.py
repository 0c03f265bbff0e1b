"""Data that do not fit into memory: read a piece at a time by several processes, and never held
whole.

A piece (a range of a file, a tar, a row group) is encoded by one process into a file of its own;
the files are then joined in order to the memory-mapped arrays that small data sets have, so that
order, resuming and splitting over ranks are theirs.
"""

import hashlib
import mmap
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aigc.core.errors import BadInput
from aigc.data.files import share
from aigc.modalities.base import Codec, TooShort

COPIED = 2**24  # bytes that are joined at once
FITTED = 8  # pieces that a codec is fitted on


@dataclass
class Stream:
    """Raw data in pieces, by split: `train` always, `validation` and `test` where official.

    `read(piece)` yields `(raw, labels, bad)`: raw data as a `Source` holds them, labels `(n,)`,
    captions `(n, L)` or None, and what is wrong with what was left out. It is a function of a
    module and pieces are plain, so that other processes can call it.
    """

    pieces: dict[str, list[Any]]
    read: Callable[[Any], Iterable[tuple[Any, np.ndarray | None, list[str]]]]
    class_names: list[str] = field(default_factory=list)
    labelled: bool = False
    skip: float | str | None = None

    def sample(self) -> list[Any]:
        """Raw data to fit a codec on: the beginnings of some pieces of the training split."""
        pieces = self.pieces["train"]
        chosen = [pieces[i] for i in sorted({len(pieces) * k // FITTED for k in range(FITTED)})]
        found = (next(iter(self.read(piece)), None) for piece in chosen)
        return [raw for raw, _, _ in filter(None, found) if len(raw)]


@dataclass(frozen=True)
class Encoded:
    """What one process has made of a piece: a file of ids, their labels, and what was left out."""

    file: Path
    rows: int
    labels: np.ndarray | None
    bad: list[str]


def encoded(stream: Stream, codec: Codec, dtype: type, folder: Path) -> dict[str, list[Encoded]]:
    """Every piece of every split through the codec, by as many processes as there are cores for
    this one; BadInput where a piece cannot be read."""
    jobs = [(split, piece) for split, pieces in stream.pieces.items() for piece in pieces]
    work = [
        (stream.read, piece, codec, dtype, folder / f"piece-{i:06d}")
        for i, (_, piece) in enumerate(jobs)
    ]
    out: dict[str, list[Encoded]] = {split: [] for split in stream.pieces}
    for (split, _), done in zip(jobs, _told(_each(work), len(work))):
        if isinstance(done, str):
            raise BadInput(done)
        out[split].append(done)
    bad = [line for parts in out.values() for part in parts for line in part.bad]
    good = sum(part.rows for parts in out.values() for part in parts)
    if len(bad) > share(stream.skip) * (good + len(bad)):
        raise BadInput(
            f"{len(bad)} of {good + len(bad)} examples cannot be read, more than "
            f"dataset.skip={stream.skip}; the first: {bad[0]}"
        )
    return out


def encode_piece(
    read: Callable, piece: Any, codec: Codec, dtype: type, path: Path
) -> Encoded | str:
    """One piece as a file of ids; what is wrong with it as a line, since errors of other processes
    come with their traces."""
    rows, labels, bad = 0, [], []
    try:
        with path.open("wb") as file:
            for raw, y, left_out in read(piece):
                bad += left_out
                if not len(raw):
                    continue
                try:
                    ids = codec.encode(raw).numpy().astype(dtype)
                except TooShort:
                    continue
                file.write(ids.tobytes())
                rows += len(ids)
                if y is not None:
                    labels.append(np.asarray(y, np.int64))
        return Encoded(path, rows, stacked(labels) if labels else None, bad)
    except BadInput as error:
        return str(error)


def stacked(labels: list[np.ndarray]) -> np.ndarray:
    """Labels `(n,)` of several pieces as one array, or captions `(n, L)`, filled with zeros."""
    if len({y.ndim for y in labels}) > 1:
        raise BadInput("some examples have a class and some have a caption")
    longest = max((y.shape[1] for y in labels if y.ndim > 1), default=0)
    filled = [np.pad(y, ((0, 0), (0, longest - y.shape[1]))) if longest else y for y in labels]
    return np.concatenate(filled)


def join(
    parts: list[Encoded],
    into: dict[str, np.ndarray],
    shape: tuple[int, ...],
    dtype: type,
    out: Path,
) -> dict[str, str]:
    """Write the arrays `ids-<split>.npy` of the rows that `into[split] (N,)` marks, reading a few
    megabytes at once and removing what is read; returns the hash of each one's content."""
    arrays = {
        split: np.lib.format.open_memmap(out / f"ids-{split}.npy", "w+", dtype, (n, *shape))
        for split, keep in into.items()
        if (n := int(keep.sum()))
    }
    contents = {split: hashlib.sha256() for split in arrays}
    written, first = dict.fromkeys(arrays, 0), 0
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    for part in parts:
        with part.file.open("rb") as file:
            while piece := file.read(max(1, COPIED // size) * size):
                rows = np.frombuffer(piece, dtype).reshape(-1, *shape)
                for split, array in arrays.items():
                    kept = rows[into[split][first : first + len(rows)]]
                    array[written[split] : written[split] + len(kept)] = kept
                    contents[split].update(np.ascontiguousarray(kept))
                    written[split] += len(kept)
                first += len(rows)
        part.file.unlink()
        for array in arrays.values():
            _let_go(array)
    return {split: content.hexdigest() for split, content in contents.items()}


def _let_go(array: np.memmap) -> None:
    """Write what was written, and count its pages as this process's no longer."""
    array.flush()
    with suppress(AttributeError, OSError):
        array._mmap.madvise(mmap.MADV_DONTNEED)


def _each(work: list[tuple]) -> Iterator[Encoded | str]:
    processes = min(len(work), len(os.sched_getaffinity(0)))
    if processes == 1:
        yield from (encode_piece(*one) for one in work)
        return
    kind = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(kind)
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        try:
            yield from pool.map(encode_piece, *zip(*work))
        finally:
            pool.shutdown(cancel_futures=True)


def _told(done: Iterator[Encoded | str], total: int) -> Iterator[Encoded | str]:
    """The same, with a line on stderr now and then."""
    start = due = time.monotonic()
    for i, one in enumerate(done, 1):
        now = time.monotonic()
        if now >= due + 5 or (i == total and now > start + 5):
            left = (now - start) / i * (total - i)
            print(f"preparing  {i}/{total} pieces  {left:.0f} s left", file=sys.stderr, flush=True)
            due = now
        yield one
