"""Prepared data: raw data encoded once to memory-mapped ids, keyed by what they were made from."""

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import zlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.core import caption
from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.data.datasets import Facts, Source, all_datasets, data_root
from aigc.data.thinning import OPTIONS, thinned
from aigc.modalities.base import Codec

FORMAT = 2  # raise it when the layout below changes
SPLITS = ("train", "validation", "test")
CHECKED = 2**28  # bytes of prepared data that are read at every start


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


@dataclass(frozen=True)
class Store:
    """A prepared data set: ids and labels of each split, the fitted codec, and the facts.

    `meta` holds `name`, `hash` (of the content), `counts`, `class_names`, `factor_names`, `truth`
    and `skipped`. Without `labelled`, labels and captions are as if the data had none.
    """

    folder: Path
    codec: Codec
    meta: dict[str, Any]
    labelled: bool = True

    @property
    def space(self) -> Space:
        """The codec's space with the number of classes and the length of captions."""
        if not self.labelled:
            return self.codec.space
        given = {"classes": len(self.meta["class_names"]), "caption": self.meta["caption"]}
        return replace(self.codec.space, **given)

    def ids(self, split: str) -> np.ndarray:
        """Memory-mapped ids `(N, *shape)` in the smallest unsigned type that holds them."""
        return np.load(self.folder / f"ids-{split}.npy", mmap_mode="r", allow_pickle=False)

    def labels(self, split: str) -> np.ndarray | None:
        """Labels `(N,)` or captions `(N, L)` int64, or None for a data set without either."""
        file = self.folder / f"labels-{split}.npy"
        known = self.labelled and file.exists()
        return np.load(file, allow_pickle=False) if known else None

    def factors(self, split: str) -> np.ndarray | None:
        """What is known to vary, as whole numbers `(N, K)`; None for most data sets."""
        file = self.folder / f"factors-{split}.npy"
        return np.load(file, allow_pickle=False) if file.exists() else None

    def examples(self, split: str, n: int) -> tuple[Tensor, Tensor | None]:
        """`n` examples of a split, ids and labels: all in order, or fewer in one random order.

        Files are often sorted by class, and the first rows of a text are one page.
        """
        ids, y, rows = self.ids(split), self.labels(split), self.rows(split, n)
        labels = None if y is None else torch.from_numpy(y[rows])
        return torch.from_numpy(ids[rows].astype(np.int64)), labels

    def rows(self, split: str, n: int) -> np.ndarray:
        """Which rows of a split `examples` takes."""
        size = len(self.ids(split))
        return np.arange(size) if n >= size else np.random.RandomState(0).permutation(size)[:n]


def cache_root() -> Path:
    """Where prepared data live: `AIGC_CACHE`, default `~/.cache/aigc`."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("AIGC_CACHE", Path(base) / "aigc"))


def prepare(
    name: str,
    codec: Codec,
    settings: dict[str, Any],
    options: dict[str, Any] | None = None,
    split: Split = Split(),
) -> Store:
    """The store of data set `name` through `codec`, made on first use.

    `settings` are the codec's constructor arguments (they enter the key), `options` the loader's
    and what `thinned` takes, which leaves validation and test as they are.
    Two processes may prepare at once: each writes a folder of its own and the first rename wins.
    """
    facts = all_datasets()[name]
    if facts.modality != codec.modality:
        raise BadInput(f"dataset '{name}' is {facts.modality}: use modality={facts.modality}")
    options = {k: v for k, v in (options or {}).items() if v is not None}
    folder = cache_root() / "data" / f"{name}-{_key(facts, settings, options, split)}"
    if not _intact(folder):
        fewer = {key: options.pop(key) for key in OPTIONS if key in options}
        source = _load(facts, options)
        codec = codec.fit(list(source.parts.values()))
        _write(folder, facts, codec, source, split, fewer)
    meta = json.loads((folder / "meta.json").read_text())
    return Store(folder, codec.load(folder), meta)


def _load(facts: Facts, options: dict[str, Any]) -> Source:
    allowed = list(inspect.signature(facts.load).parameters)
    if wrong := [key for key in options if key not in allowed]:
        takes = ", ".join(f"dataset.{key}" for key in [*allowed, *OPTIONS])
        raise BadInput(
            f"dataset '{facts.name}' has no option 'dataset.{wrong[0]}': it takes {takes}"
        )
    return facts.load(**options)


def _key(facts: Facts, settings: dict, options: dict, split: Split) -> str:
    """A hash of everything the ids depend on, cheap enough to compute at every start."""
    parts = [FORMAT, facts.name, settings, options, vars(split), inspect.getsource(facts.load)]
    if facts.kind == "embedded":
        parts += [version("scikit-learn"), sys.version_info[:3]]
    if facts.kind == "standard":
        parts += [str(data_root().resolve())]
    if "path" in options:
        root = Path(options["path"])
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        parts += [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _intact(folder: Path) -> bool:
    """Whether a folder holds prepared data as they were written; damaged ones are removed.

    A quarter of a gigabyte is read at every start (0.1 s); of more only the sizes are looked at.
    """
    if not (folder / "meta.json").exists():
        return False
    try:
        known = json.loads((folder / "meta.json").read_text()).get("files", {})
        read = sum(size for size, _ in known.values()) <= CHECKED
        for name, (size, crc) in known.items():
            file = folder / name
            if file.stat().st_size != size or (read and _sum(file)[1] != crc):
                raise ValueError(f"{name} is not as it was written")
        return True
    except (OSError, ValueError) as error:
        print(f"{folder}: {error}: prepared again", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return False


def _sum(file: Path) -> tuple[int, int]:
    """Size and checksum of a file."""
    crc = 0
    with file.open("rb") as stream:
        while piece := stream.read(2**22):
            crc = zlib.crc32(piece, crc)
    return file.stat().st_size, crc


def _write(
    folder: Path, facts: Facts, codec: Codec, source: Source, split: Split, fewer: dict[str, Any]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        content = hashlib.sha256()
        counts = {}
        for which, (ids, labels, factors) in _carve(facts, codec, source, split).items():
            if which == "train" and fewer:
                rows = thinned(len(ids), labels, **fewer)
                ids, labels, factors = (x if x is None else x[rows] for x in (ids, labels, factors))
            ids = ids.astype(_smallest(codec.space), copy=False)
            np.save(part / f"ids-{which}.npy", ids)
            content.update(np.ascontiguousarray(ids))
            if labels is not None:
                np.save(part / f"labels-{which}.npy", labels.astype(np.int64))
                content.update(np.ascontiguousarray(labels, np.int64))
            if factors is not None:
                np.save(part / f"factors-{which}.npy", factors.astype(np.int64))
            counts[which] = len(ids)
        codec.save(part)
        meta = {
            "name": facts.name,
            "modality": facts.modality,
            "licence": facts.licence,
            "hash": content.hexdigest()[:12],
            "counts": counts,
            "class_names": _class_names(source),
            "caption": _longest(source),
            "factor_names": source.factor_names,
            "truth": source.truth,
            "skipped": source.skipped,
            "files": {f.name: _sum(f) for f in sorted(part.iterdir())},
        }
        (part / "meta.json").write_text(json.dumps(meta))
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "meta.json").exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
