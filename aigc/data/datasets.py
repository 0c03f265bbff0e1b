"""What a data set is: facts that can be listed without loading it, and a function that loads it."""

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aigc.core.errors import BadInput
from aigc.core.registry import Registry


@dataclass
class Source:
    """Loaded raw data: one entry a split, `train` always, `validation` and `test` where
    official.

    `labels` are class numbers, `captions` texts; a source has at most one of them. `factors` are
    the values `(N, K)` of what is known to vary, named by `factor_names`; no model sees them.
    Raw data are `uint8 (N, C, H, W)` for images, a list of documents for text, a list of `(wave,
    rate)` for audio, a data frame for tables. `truth` holds what is known exactly of a synthetic
    law. `skipped` says of each file that was left out what is wrong with it.
    """

    parts: dict[str, Any]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    captions: dict[str, list[str]] = field(default_factory=dict)
    truth: dict[str, float] = field(default_factory=dict)
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    factor_names: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """What can be said of a data set before it is loaded."""

    name: str
    modality: Literal["text", "image", "audio", "tabular"]
    kind: Literal["embedded", "law", "standard", "own"]
    licence: str
    about: str
    splits: str
    classes: int
    places: tuple[str, ...]  # files or folders below the data root, any of which will do
    hint: str  # what to do when none is there
    load: Callable[..., Source]

    def found(self) -> Path | None:
        """The first of `places` that exists."""
        return next((p for place in self.places if (p := data_root() / place).exists()), None)


DATASETS: Registry[Facts] = Registry("dataset")


def dataset(
    modality: str,
    kind: str = "standard",
    licence: str = "",
    splits: str = "carved",
    classes: int = 0,
    places: tuple[str, ...] = (),
    hint: str = "put the files there",
) -> Callable[[Callable[..., Source]], Callable[..., Source]]:
    """Register a loader under its own name with its facts.

    `splits` names the official parts (`train/test`), or `carved` where the framework cuts them.
    The first paragraph of the docstring is the description that `aigc list datasets` prints.
    """

    def add(load: Callable[..., Source]) -> Callable[..., Source]:
        about = " ".join((load.__doc__ or "").split("\n\n")[0].split())
        name = load.__name__
        facts = Facts(name, modality, kind, licence, about, splits, classes, places, hint, load)
        DATASETS.add(name, facts)
        return load

    return add


def all_datasets() -> Registry[Facts]:
    """The registry with every module of `aigc.data.sets` in it."""
    from aigc.data import sets

    for module in pkgutil.iter_modules(sets.__path__):
        importlib.import_module(f"{sets.__name__}.{module.name}")
    return DATASETS


def data_root() -> Path:
    """Where standard data sets live: `AIGC_DATA`, default `./data`."""
    return Path(os.environ.get("AIGC_DATA", "data"))


def locate(name: str) -> Path:
    """Where the files of data set `name` lie; BadInput says where they were looked for and what
    to do."""
    facts = DATASETS[name]
    if path := facts.found():
        return path
    raise missing(facts)


def missing(facts: Facts) -> BadInput:
    """The error for a data set whose files are not there."""
    looked = ", ".join(str(data_root() / place) for place in facts.places)
    return BadInput(
        f"dataset '{facts.name}' not found: looked for {looked} (root: AIGC_DATA); {facts.hint}"
    )
