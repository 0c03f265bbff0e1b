"""The reference side of an evaluation: data, extractors and baselines of one data set."""

import hashlib
import json
from typing import Any

from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import completion
from aigc.data.store import Store
from aigc.lab import extractors
from aigc.metrics.baselines import GaussianFit, Marginals, Smote
from aigc.metrics.features import EXTRACTORS, Extractor, dims_for
from aigc.metrics.registry import Evidence, Rows, chosen
from aigc.metrics.suite import Row, judge
from aigc.runs import cache_root, paid, write_atomic

TRAIN_CAP = 20_000  # training examples that extractors and memorisation look at
PROBS = frozenset({"probs", "ref_probs"})


def needed(names: list[str] | str | None, modality: str) -> frozenset[str]:
    """What the metrics that are meant look at."""
    return frozenset().union(*(m.needs for m in chosen(names, modality)))


def marked(rows: list[Row], config: dict[str, Any]) -> list[Row]:
    """Rows of a run that was matched by something else than examples say so in their protocol; what
    a thing costs is the same whatever was matched."""
    mark = paid(config)
    if not mark:
        return rows
    free = [row["axis"] == "cost" or row["status"] != "ok" for row in rows]
    told = [{**row, "protocol": f"{row['protocol']} {mark}"} for row in rows]
    return [row if same else new for row, new, same in zip(rows, told, free)]


class Judge:
    """What the samples of a run are held against. `names` are the metrics that are meant."""

    def __init__(
        self,
        store: Store,
        n: int,
        extractors: list[str],
        dims: int | None = None,
        names: list[str] | str | None = None,
        quick: bool = False,
    ):
        self.store, self.codec, self.n, self.quick = store, store.codec, n, quick
        self.ref, self.y = store.examples("test", n)
        if len(self.ref) < 4:
            raise BadInput(f"{len(self.ref)} test examples (n, or all there are): at least 4")
        if not extractors:
            raise BadInput(f"extractors: at least one of {', '.join(EXTRACTORS)}")
        self.dims = dims or dims_for(min(n, len(self.ref)))
        self.metrics = chosen(names, self.codec.modality)
        self.needs = needed(names, self.codec.modality)
        self.fit_on, self.fit_on_y = store.examples("train", TRAIN_CAP)
        self._make_extractors(extractors)

    def _make_extractors(self, names: list[str]) -> None:
        self.extractors: dict[str, Extractor] = {}
        self.train: dict[str, Tensor] = {}
        self.real: dict[str, Tensor] = {}
        for name in names:
            extractor = extractors.make(name, self.store, self.fit_on, self.fit_on_y, self.dims)
            full = f"{extractor.id}@{extractor.sha}"
            self.extractors[full] = extractor
            self.train[full] = extractors.reference(self.store, extractor, self.fit_on, "train")
            self.real[full] = extractors.reference(self.store, extractor, self.ref, "test")

    @property
    def reference(self) -> str:
        """Data set, split and content; `quick` sets a quick evaluation apart from all others."""
        name = f"{self.store.meta['name']}/test#{self.store.meta['hash']}"
        return f"{name} quick" if self.quick else name

    def evidence(
        self, gen: Tensor | None, y: Tensor | None = None, **facts: Any
    ) -> dict[str, Evidence]:
        """Evidence for generated ids (and their labels), one entry an extractor."""
        features = self._features(gen) if gen is not None else dict.fromkeys(self.extractors)
        others = self._others(gen, y)
        facts = {**others, **facts, **{k: others[k] | facts.get(k, {}) for k in ("by", "missing")}}
        return {
            name: Evidence(
                self.codec.modality,
                gen=features[name],
                ref=self.real[name],
                train=self.train[name],
                dims=self.store.space.dims,
                nbytes=self.codec.nbytes(self.ref),
                **facts,
            )
            for name in self.extractors
        }

    def blind(self, gen: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Features of generated, reference and training rows of a table that repeats its label,
        without it; nothing for other data."""
        sets = (gen.cpu(), self.ref, self.fit_on)
        hidden = [
            extractors.without_label(self.codec, ids, self.fit_on, self.fit_on_y) for ids in sets
        ]
        if hidden[0] is sets[0]:
            return {}
        found = [self._features(ids) for ids in hidden]
        return {name: tuple(features[name] for features in found) for name in self.extractors}

    def _others(self, gen: Tensor | None, y: Tensor | None) -> dict[str, Any]:
        """What metrics look at besides features, where one of them asks for it."""
        out: dict[str, Any] = {"missing": {}, "by": {}}
        if self.codec.modality == "text":
            out["tokens"] = completion(self.ref, self.store.space.end).sum(1)
        if gen is None:
            return out
        if self.codec.modality == "text" and "written" in self.needs:
            out["written"] = self.codec.decode(gen)
        if self.codec.modality == "tabular" and "rows" in self.needs:
            labels = None if self.y is None or self.y.ndim > 1 else (y, self.y, self.fit_on_y)
            ordered = self.store.space.ordered
            out["rows"] = Rows(gen.cpu(), self.ref, self.fit_on, ordered, labels)
        if self.needs & PROBS:
            out |= self._classified(gen)
        return out

    def _classified(self, gen: Tensor) -> dict[str, Any]:
        """Class probabilities by a classifier of the data set, and which one it is."""
        if self.fit_on_y is None or self.fit_on_y.ndim > 1:
            return {"missing": dict.fromkeys(PROBS, "and the data set has no classes")}
        found = extractors.classifier(self.store, self.fit_on, self.fit_on_y, self.dims)
        probs, ref_probs = (found.probs(self.codec.field(ids.cpu())) for ids in (gen, self.ref))
        by = dict.fromkeys(PROBS, f"{found.id}@{found.sha}")
        return {"probs": probs, "ref_probs": ref_probs, "by": by}

    def baselines(self) -> list[Row]:
        """Reference rows: unseen real data (the floor), marginals, a Gaussian fit, training
        copies, and SMOTE of a table."""
        train, levels = self.fit_on, self.store.space.levels
        whole = self.store.space.end < 0  # else likelihoods are of completions given prompts
        marginals, gaussian = Marginals(train, levels), GaussianFit(train, levels)
        nats = marginals.nats(self.ref) if whole else None
        sets = {
            "real": (*self.store.examples("validation", self.n), None),
            "marginals": (marginals.sample(self.n), None, nats),
            "gaussian": (gaussian.sample(self.n), None, None),
            "copies": (*self.store.examples("train", self.n), None),
        }
        if self.codec.modality == "tabular":
            labels = None if self.fit_on_y is None or self.fit_on_y.ndim > 1 else self.fit_on_y
            smote = Smote(train, labels, levels, self.store.space.ordered)
            sets["smote"] = (*smote.sample(self.n), None)
        names = [m.name for m in self.metrics if m.axis != "cost"]
        rows = []
        for of, (ids, y, nats) in sets.items():
            kind = "exact" if nats is not None else "none"
            found = judge(self.evidence(ids, y, nats=nats), self.reference, kind, names=names)
            rows += [{"of": of, **row} for row in found if row["status"] == "ok"]
        return rows

    def cached_baselines(self) -> list[Row]:
        """The same, computed once for a data set, size, set of extractors and of metrics."""
        versions = [(m.name, m.version) for m in self.metrics]
        smote = ["smote"] * (self.codec.modality == "tabular")
        key = json.dumps([self.reference, self.n, list(self.extractors), versions, *smote])
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        file = cache_root() / "references" / f"{self.store.meta['name']}-{name}.json"
        if not file.exists():
            write_atomic(file, json.dumps(self.baselines()))
        return json.loads(file.read_text())

    def _features(self, ids: Tensor) -> dict[str, Tensor]:
        read = extractors.Reader(self.codec, ids)
        return {name: e(read(e.source)) for name, e in self.extractors.items()}
