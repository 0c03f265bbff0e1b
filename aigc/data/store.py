"""Prepared data: raw data encoded once to memory-mapped ids, keyed by what they were made from."""

import hashlib
import inspect
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.core.sums import summed
from aigc.data.datasets import Facts, Source, all_datasets, data_root
from aigc.data.splits import Split, from_source, from_stream
from aigc.data.streams import Stream
from aigc.data.thinning import OPTIONS
from aigc.modalities.base import Codec
from aigc.runs import cache_root

FORMAT = 2  # raise it when the layout below changes
CHECKED = 2**28  # bytes of prepared data that are read at every start


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
        if isinstance(source, Stream):
            codec, make = codec.fit(source.sample()), from_stream
        else:
            codec, make = codec.fit(list(source.parts.values())), from_source
        _write(folder, facts, codec, partial(make, facts, codec, source, split, fewer))
    meta = json.loads((folder / "meta.json").read_text())
    return Store(folder, codec.load(folder), meta)


def _load(facts: Facts, options: dict[str, Any]) -> Source | Stream:
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
            if file.stat().st_size != size or (read and summed(file)[1] != crc):
                raise ValueError(f"{name} is not as it was written")
        return True
    except (OSError, ValueError) as error:
        print(f"{folder}: {error}: prepared again", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return False


def _write(
    folder: Path, facts: Facts, codec: Codec, make: Callable[[Path], dict[str, Any]]
) -> None:
    """Let `make` write the arrays of all splits and say what they hold; the folder appears when it
    is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        made = make(part)
        codec.save(part)
        meta = {
            "name": facts.name,
            "modality": facts.modality,
            "licence": facts.licence,
            **made,
            "files": {f.name: summed(f) for f in sorted(part.iterdir())},
        }
        (part / "meta.json").write_text(json.dumps(meta))
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "meta.json").exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
