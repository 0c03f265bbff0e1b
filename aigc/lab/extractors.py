"""Extractors by name: fitted on the training data, trained once and kept, or read from a file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.data.datasets import data_root
from aigc.data.store import Store
from aigc.metrics import efficientnet, encoders, yamnet  # noqa: F401  (they register)
from aigc.metrics.classifier import Classifier
from aigc.metrics.features import EXTRACTORS, Extractor
from aigc.metrics.lpips import LPIPS
from aigc.metrics.registry import Pairs
from aigc.metrics.tables import label_columns
from aigc.modalities.base import Codec
from aigc.runs import cache_root

SLOW_CAP = 2000  # training examples that extractors which take long look at


class Reader:
    """The spaces of a codec in which extractors read the same ids, each made once."""

    def __init__(self, codec: Codec, ids: Tensor):
        self.codec, self.ids, self.made = codec, ids, {}

    def __call__(self, source: str) -> Any:
        """`field` or `features` as a tensor, or `data` as it is decoded."""
        if source not in self.made:
            if source == "data":
                self.made[source] = self.codec.decode(self.ids)
            else:
                read = getattr(self.codec, source)
                self.made[source] = torch.cat([read(part) for part in self.ids.split(1000)])
        return self.made[source]


def make(name: str, store: Store, train: Tensor, y: Tensor | None, dims: int) -> Extractor:
    """The extractor `name`, or `name:PATH` where it is read from a file.

    Raises BadInput for an unknown one, one of another modality, and a file that is not there.
    """
    kind, _, path = name.partition(":")
    maker = EXTRACTORS[kind]
    if maker is Classifier:
        return classifier(store, train, y, dims)
    if maker.source != "data":
        if path:
            raise BadInput(f"extractor '{kind}' reads no file: leave ':{path}' out")
        return maker(Reader(store.codec, train)(maker.source), dims)
    modality = store.codec.modality
    if modality not in maker.modalities:
        fits = ", ".join(sorted(maker.modalities))
        raise BadInput(f"extractor '{kind}' is for {fits}, and this run makes {modality}")
    return maker(weights(kind, path, getattr(maker, "file", None)), modality)


def perceived(pairs: Pairs, needs: frozenset[str]) -> dict[str, Any]:
    """Distances of pictures to LPIPS where they are asked for, or why there are none."""
    if "perceived" not in needs:
        return {}
    if min(pairs.original.shape[2:]) < LPIPS.least:
        return {"missing": {"perceived": f"for pictures of at least {LPIPS.least} pixels"}}
    try:
        net = LPIPS(weights("lpips", "", LPIPS.file))
    except BadInput as error:
        return {"missing": {"perceived": f"but {error}"}}
    by = {"perceived": f"{net.id}@{net.sha}"}
    return {"perceived": net.distance(pairs.original, pairs.rebuilt), "by": by}


def weights(kind: str, path: str, file: str | None) -> Path:
    """Where the weights of `kind` lie: at `path`, or as `file` below `AIGC_DATA/weights`."""
    place = Path(path) if path else data_root() / "weights" / (file or "")
    if not (path or file) or not place.exists():
        where = f"there is no {place}: " if file or path else ""
        raise BadInput(f"{where}say where the weights of '{kind}' lie: extractors=['{kind}:PATH']")
    return place


def classifier(store: Store, train: Tensor, y: Tensor | None, dims: int) -> Classifier:
    """The classifier of a labelled data set: trained on first use, then read from the cache."""
    if y is None or y.ndim > 1:
        raise BadInput(f"extractor 'clf' needs classes, and '{store.meta['name']}' has none")
    blind = without_label(store.codec, train, train, y)
    name = f"{store.folder.name}-{dims}{'' if blind is train else '-blind'}.safetensors"
    file = cache_root() / "classifiers" / name
    if not file.exists():
        held_out, held_y = store.examples("validation", 2000)
        field, hidden = Reader(store.codec, train)("field"), None
        if blind is not train:
            hidden = (field != store.codec.field(blind)).any(0)
        found = Classifier.fit(field, y, store.space.classes, dims, hidden=hidden)
        found.score(store.codec.field(held_out), held_y)
        file.parent.mkdir(parents=True, exist_ok=True)
        found.save(file)
    return Classifier.load(file)


def without_label(codec: Codec, ids: Tensor, train: Tensor, y: Tensor) -> Tensor:
    """`ids` of a table with the columns that are the label again made equal in all rows, where
    training rows `train` with labels `y` have such; else `ids` themselves."""
    again = label_columns(train, y) if codec.modality == "tabular" else []
    if not again:
        return ids
    ids = ids.clone()
    ids[:, again] = 0
    return ids


def reference(store: Store, extractor: Extractor, ids: Tensor, split: str) -> Tensor:
    """Features of the first examples of a split, kept by data, extractor and number where they
    are slow to make."""
    if extractor.source != "data":
        return extractor(Reader(store.codec, ids)(extractor.source))
    ids = ids[:SLOW_CAP] if split == "train" else ids
    name = f"{store.folder.name}-{split}-{len(ids)}-{extractor.id}-{extractor.sha}.npy"
    file = cache_root() / "features" / name
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{id(ids)}.part.npy")
        np.save(part, extractor(store.codec.decode(ids)).cpu().numpy())
        part.replace(file)
    return torch.from_numpy(np.load(file, allow_pickle=False))
