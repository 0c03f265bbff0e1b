"""From raw data to arrays of train, validation and test, carved from `train` where a data
set does not bring them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aigc.core import caption
from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.data.datasets import Facts, Source
from aigc.data.streams import Stream, encoded, join, stacked
from aigc.data.thinning import thinned
from aigc.modalities.base import Codec

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """How splits that a data set does not bring are carved from `train`; the same for every run.

    Blocks of `block` neighbouring examples are dealt at random, so that windows of one page of text
    stay together; 0 cuts in running order (train, validation, test).
    """

    validation: float = 0.2
    test: float = 0.2
    seed: int = 0
    block: int = 1


def from_source(
    facts: Facts, codec: Codec, source: Source, split: Split, fewer: dict[str, Any], out: Path
) -> dict[str, Any]:
    """Data that fit into memory."""
    content = hashlib.sha256()
    counts = {}
    for which, (ids, labels, factors) in _carve(facts, codec, source, split).items():
        if which == "train" and fewer:
            rows = thinned(len(ids), labels, **fewer)
            ids, labels, factors = (x if x is None else x[rows] for x in (ids, labels, factors))
        ids = ids.astype(_smallest(codec.space), copy=False)
        np.save(out / f"ids-{which}.npy", ids)
        content.update(np.ascontiguousarray(ids))
        if labels is not None:
            np.save(out / f"labels-{which}.npy", labels.astype(np.int64))
            content.update(np.ascontiguousarray(labels, np.int64))
        if factors is not None:
            np.save(out / f"factors-{which}.npy", factors.astype(np.int64))
        counts[which] = len(ids)
    return {
        "hash": content.hexdigest()[:12],
        "counts": counts,
        "class_names": _class_names(source),
        "caption": _longest(source),
        "factor_names": source.factor_names,
        "truth": source.truth,
        "skipped": source.skipped,
    }


def from_stream(
    facts: Facts, codec: Codec, stream: Stream, split: Split, fewer: dict[str, Any], out: Path
) -> dict[str, Any]:
    """Data that do not."""
    dtype, shape = _smallest(codec.space), codec.space.shape
    found = encoded(stream, codec, dtype, out)
    sizes = {which: sum(part.rows for part in parts) for which, parts in found.items()}
    labels = {which: [p.labels for p in parts if p.rows] for which, parts in found.items()}
    if stream.labelled and any(y is None for parts in labels.values() for y in parts):
        raise BadInput(
            f"dataset '{facts.name}': some examples have a class or caption and some have none"
        )
    given = {which: stacked(parts) for which, parts in labels.items() if stream.labelled}
    captioned = stream.labelled and given["train"].ndim > 1
    if captioned:  # to one length
        widths = {which: y.shape[1] for which, y in given.items()}
        longest = max(widths.values())
        given = {k: np.pad(y, ((0, 0), (0, longest - widths[k]))) for k, y in given.items()}
    hashes, counts, top = {}, {}, -1
    for which, into in _dealt(facts, sizes, split).items():
        if which == "train" and fewer:
            rows = np.flatnonzero(into["train"])
            y = given["train"][rows] if stream.labelled else None
            into["train"] = np.zeros(sizes["train"], bool)
            into["train"][rows[thinned(len(rows), y, **fewer)]] = True
        hashes |= join(found[which], into, shape, dtype, out)
        for other, keep in into.items():
            counts[other] = int(keep.sum())
            if stream.labelled:
                y = given[which][keep]
                np.save(out / f"labels-{other}.npy", y)
                hashes[f"y {other}"] = hashlib.sha256(y).hexdigest()
                top = top if captioned else max(top, int(y.max()))
    content = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode())
    return {
        "hash": content.hexdigest()[:12],
        "counts": {which: counts[which] for which in SPLITS},
        "class_names": stream.class_names or [str(k) for k in range(top + 1)],
        "caption": longest if captioned else 0,
        "factor_names": [],
        "truth": {},
        "skipped": [line for parts in found.values() for part in parts for line in part.bad],
    }


def _dealt(facts: Facts, sizes: dict[str, int], split: Split) -> dict[str, dict[str, np.ndarray]]:
    """For each split that is there, the splits that are made of it and which of its rows `(N,)`
    they get: blocks are dealt whole."""
    n, block = sizes["train"], split.block or 1
    blocks = -(-n // block)
    missing = [which for which in ("validation", "test") if which not in sizes]
    shares = [max(1, round(getattr(split, which) * blocks)) for which in missing]
    order = np.arange(blocks)
    if split.block:
        order = np.random.RandomState(split.seed).permutation(blocks)
    left = blocks - sum(shares)
    if left < 1 or min(sizes.values()) < 1:
        raise BadInput(f"dataset '{facts.name}' has {n} examples, too few to split")
    into = {}
    for which, part in zip(["train", *missing], np.split(order, np.cumsum([left, *shares])[:-1])):
        keep = np.zeros((blocks, block), bool)
        keep[part] = True
        into[which] = keep.reshape(-1)[:n]
    whole = {which: {which: np.ones(m, bool)} for which, m in sizes.items()}
    return {**whole, "train": into}


def _carve(facts: Facts, codec: Codec, source: Source, split: Split) -> dict[str, tuple]:
    """Encoded splits; those that the source does not bring come from its `train`."""
    labels = dict(source.labels)
    for which, texts in source.captions.items():
        labels[which] = caption.encode(texts, _longest(source)).numpy()
    out = {
        which: (codec.encode(raw).numpy(), labels.get(which), source.factors.get(which))
        for which, raw in source.parts.items()
    }
    ids = out["train"][0]
    sizes = {
        which: round(getattr(split, which) * len(ids))
        for which in ("validation", "test")
        if which not in out
    }
    left = len(ids) - sum(sizes.values())
    if min([left, *sizes.values()]) < 1:
        raise BadInput(f"dataset '{facts.name}' has {len(ids)} examples, too few to split")
    stops, parts = np.cumsum([left, *sizes.values()])[:-1], {}
    for which, rows in zip(["train", *sizes], np.split(_deal(len(ids), split), stops)):
        parts[which] = tuple(None if a is None else a[np.sort(rows)] for a in out["train"])
    return {which: {**out, **parts}[which] for which in SPLITS}


def _deal(n: int, split: Split) -> np.ndarray:
    """The order in which examples are given to train, validation and test."""
    if split.block == 0:
        return np.arange(n)
    starts = np.random.RandomState(split.seed).permutation(-(-n // split.block)) * split.block
    rows = (starts[:, None] + np.arange(split.block)).ravel()
    return rows[rows < n]


def _class_names(source: Source) -> list[str]:
    if not source.labels:
        return []
    return source.class_names or [str(i) for i in range(int(source.labels["train"].max()) + 1)]


def _longest(source: Source) -> int:
    """Bytes of the longest caption, 0 without captions."""
    return max((len(t.encode()) for part in source.captions.values() for t in part), default=0)


def _smallest(space: Space) -> type:
    top = max(space.levels) if isinstance(space.levels, tuple) else space.levels
    return np.uint8 if top <= 2**8 else np.uint16 if top <= 2**16 else np.int32
