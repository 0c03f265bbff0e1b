"""`aigc evaluate`: sample a run, judge it by the registry, and put the reference rows beside it."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.rng import seeds
from aigc.data.store import Store, cache_root
from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import reseed
from aigc.lab.run import Run, Samples
from aigc.lab.training import quiet
from aigc.metrics.baselines import GaussianFit, Marginals
from aigc.metrics.features import EXTRACTORS, Extractor, dims_for
from aigc.metrics.registry import METRICS, Evidence
from aigc.metrics.suite import Row, judge
from aigc.runs import RunDir, shown_folder, write_atomic

TRAIN_CAP = 20_000  # training examples that extractors and memorisation look at
SHOWN = 64
CONTINUED = 256  # reference texts that a model goes on from


class Judge:
    """The reference data, extractors and baselines of one data set."""

    def __init__(self, store: Store, n: int, extractors: list[str], dims: int | None = None):
        self.store, self.codec, self.n = store, store.codec, n
        self.ref, self.y = store.examples("test", n)
        if len(self.ref) < 4:
            raise BadInput(f"{len(self.ref)} test examples (n, or all there are): at least 4")
        if not extractors:
            raise BadInput(f"extractors: at least one of {', '.join(EXTRACTORS)}")
        dims = dims or dims_for(min(n, len(self.ref)))
        fit_on, self.fit_on_y = store.examples("train", TRAIN_CAP)
        self.fit_on = fit_on
        self.extractors: dict[str, Extractor] = {}
        for name in extractors:
            maker = EXTRACTORS[name]
            extractor = maker(getattr(self.codec, maker.source)(fit_on), dims)
            self.extractors[f"{extractor.id}@{extractor.sha}"] = extractor
        self.train = self._features(fit_on)
        self.real = self._features(self.ref)

    @property
    def reference(self) -> str:
        """Data set, split and content."""
        return f"{self.store.meta['name']}/test#{self.store.meta['hash']}"

    def evidence(self, gen: Tensor | None, **facts: Any) -> dict[str, Evidence]:
        """Evidence for generated ids, one entry an extractor."""
        features = self._features(gen) if gen is not None else dict.fromkeys(self.extractors)
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

    def baselines(self) -> list[Row]:
        """Reference rows: unseen real data (the floor), marginals, a Gaussian fit, training
        copies."""
        train, levels = self.fit_on, self.store.space.levels
        whole = self.store.space.end < 0  # else likelihoods are of completions given prompts
        marginals, gaussian = Marginals(train, levels), GaussianFit(train, levels)
        sets = {
            "real": (self.store.examples("validation", self.n)[0], None),
            "marginals": (marginals.sample(self.n), marginals.nats(self.ref) if whole else None),
            "gaussian": (gaussian.sample(self.n), None),
            "copies": (self.store.examples("train", self.n)[0], None),
        }
        names = [m.name for m in METRICS.values() if m.axis != "cost" and not m.by_class]
        rows = []
        for of, (ids, nats) in sets.items():
            kind = "exact" if nats is not None else "none"
            found = judge(self.evidence(ids, nats=nats), self.reference, kind, names=names)
            rows += [{"of": of, **row} for row in found if row["status"] == "ok"]
        return rows

    def cached_baselines(self) -> list[Row]:
        """The same, computed once for a data set, size and set of extractors."""
        versions = [(m.name, m.version) for m in METRICS.values() if not m.by_class]
        key = json.dumps([self.reference, self.n, list(self.extractors), versions])
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        file = cache_root() / "references" / f"{self.store.meta['name']}-{name}.json"
        if not file.exists():
            write_atomic(file, json.dumps(self.baselines()))
        return json.loads(file.read_text())

    def _features(self, ids: Tensor) -> dict[str, Tensor]:
        spaces: dict[str, Tensor] = {}
        for extractor in self.extractors.values():
            if extractor.source not in spaces:
                parts = ids.split(1000)
                read = getattr(self.codec, extractor.source)
                spaces[extractor.source] = torch.cat([read(part) for part in parts])
        return {name: e(spaces[e.source]) for name, e in self.extractors.items()}


def evaluate(run: Run, config: dict[str, Any]) -> RunDir:
    """Judge `run` and add the rows to its `results.jsonl`, the reference rows to
    `references.jsonl`."""
    quiet()
    for name in (names := config["metrics"]) or []:
        METRICS[name]  # an unknown name is an error before anything is sampled
    counts = run.store.meta["counts"]
    n = config["n"] or min(run.config["budget"]["samples"], counts["test"], counts["validation"])
    if config["by_class"]:
        from aigc.lab.classes import evaluate_by_class

        return evaluate_by_class(run, config, n)
    judge_ = Judge(run.store, n, config["extractors"])
    node, seed, batch = config["sampler"], config["seed"], config["batch_size"]
    strategy = run.strategy(node)
    samples, cost = timed_samples(run, n, seed, strategy, batch)
    save_shown(run, samples, describe(node), seed, n, judge_)
    needs = frozenset().union(*(METRICS[name].needs for name in names or METRICS))
    nats = continued = None
    if "nats" in needs:
        nats = likelihood(run, judge_.ref, judge_.y, batch)
    if "continued" in needs:
        continued = continuations(run, judge_, seed, strategy, batch)
    evidence = judge_.evidence(samples.ids, nats=nats, cost=cost, continued=continued)
    given = [run.dir.status["given"], "prompt" if run.codec.space.end >= 0 else ""]
    given = " ".join(filter(None, given))
    rows = judge(evidence, judge_.reference, kind_of(run.model), given, names)
    facts = {
        "sampler": describe(node),
        "nfe": cost["nfe"],
        "seed": seed,
        "ema": run.config["model"]["ema"],
        "batch_size": batch,
    }
    run.dir.add_rows([{**row, **facts} for row in rows])
    run.dir.add_rows(judge_.cached_baselines(), "references.jsonl")
    return run.dir


def judged(run: RunDir) -> bool:
    """Whether every metric of the run's modality has a row, computed or skipped with a reason."""
    modality = run.config["modality"]["name"]
    wanted = {m.name for m in METRICS.values() if modality in m.modalities and not m.by_class}
    return {row["metric"] for row in run.rows()} >= wanted


def timed_samples(
    run: Run, n: int, seed: int, strategy: Any, batch: int
) -> tuple[Samples, dict[str, float]]:
    """Samples, and what they cost: evaluations by a hook, examples a second after a warm-up."""
    guide = getattr(strategy, "guide", None)
    calls = [count_calls(m.sampled_net) for m in (run.model, guide) if m is not None]
    run.sample(1, seed, sampler=strategy, batch_size=1)  # also warms up
    nfe = sum(c.stop() for c in calls)
    start = time.perf_counter()
    samples = run.sample(n, seed, sampler=strategy, batch_size=batch)
    seconds = time.perf_counter() - start
    status = run.dir.status
    return samples, {
        "samples_per_second": n / seconds,
        "nfe": nfe,
        "parameters": status["parameters"],
        "train_seconds": status["train_seconds"],
    }


class count_calls:
    """Counts the forward calls of a network until `stop`."""

    def __init__(self, net: nn.Module):
        self.count = 0
        self.handle = net.register_forward_hook(self._call)

    def stop(self) -> int:
        """Remove the hook; the number of calls."""
        self.handle.remove()
        return self.count

    def _call(self, *_: Any) -> None:
        self.count += 1


def kind_of(model: GenerativeModule) -> str:
    """What the model's nats are to those of the ids: a learned view knows better."""
    return getattr(model.view, "likelihood", model.likelihood)


@torch.no_grad()
def likelihood(run: Run, ids: Tensor, y: Tensor | None, batch: int) -> Tensor | None:
    """Nats of each reference example `(n,)` float64, or None for a model without likelihood of
    the ids; a learned view adds what its tokens leave open.

    The noise of a bound is a function of the batch number, so the value is reproducible.
    """
    model = run.model
    if "nats" not in model.provides or kind_of(model) == "none":
        return None
    parts = []
    for i, part in enumerate(ids.split(batch)):
        part_y = None if y is None else y[i * batch :][: len(part)].to(model.device)
        reseed(seeds(0, 2, i), model.device)
        part = part.to(model.device)
        nats = model.nats(model.view.encode(part), part_y).double()
        rest = getattr(model.view, "nats", None)
        parts.append((nats + rest(part) if rest else nats).cpu())
    return torch.cat(parts)


def continuations(
    run: Run, judge_: Judge, seed: int, strategy: Any, batch: int
) -> tuple[list[str], list[str]] | None:
    """What the model writes after the beginnings of texts, and what stands there; None where it
    takes no prompt."""
    if "prompts" not in run.model.provides or not hasattr(run.codec, "beginnings"):
        return None
    prompts, wanted = run.codec.beginnings(judge_.ref[:CONTINUED])
    y = None if judge_.y is None else judge_.y[:CONTINUED]
    found = run.sample(len(prompts), seed, y, strategy, batch, prompts)
    return run.codec.endings(found.ids), wanted


def save_shown(run: Run, samples: Samples, sampler: str, seed: int, n: int, judge_: Judge) -> Path:
    """Keep all generated ids and render the first ones, beside as many real ones."""
    folder = run.dir / "samples" / f"{shown_folder(sampler, seed)}-n{n}"
    samples.save(folder)
    shown = Samples(samples.ids[:SHOWN], None, samples.codec)
    shown.codec.render(shown.ids, folder)
    real = run.dir / "samples" / "real"
    if not real.exists():
        Samples(judge_.ref[:SHOWN], None, samples.codec).save(real)
    return folder


def describe(node: dict[str, Any]) -> str:
    """`ddim steps=50 eta=0.0`; what is null is off and left out."""
    hidden = ("name", "_target_", "families")
    fields = [f"{k}={v}" for k, v in node.items() if k not in hidden and v is not None]
    return " ".join([node["name"], *fields])
