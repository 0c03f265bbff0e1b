"""Metrics of the registry during training, on a fixed probe set: to look at, to keep the best
weights by, to stop by."""

from typing import Any

import lightning as L
from torch import Tensor

from aigc.core.errors import unknown
from aigc.data.store import Store
from aigc.lab.callbacks import EMA
from aigc.lab.ranks import in_training
from aigc.metrics.features import RandConv, dims_for
from aigc.metrics.registry import Evidence, Metric, Undefined
from aigc.metrics.suite import METRICS

EXAMPLES = 256  # validation examples, and as many samples
OBSERVED = 4096  # training examples that a sampler may learn from, as at the end of training
WORST = 1e30  # what an undefined value counts as where the best is kept
KEPT = "val/probe_kept"


def probed() -> list[str]:
    """Metrics that samples and data alone give."""
    sets = [m for m in METRICS.values() if m.needs <= {"gen", "ref", "train"} and not m.by_class]
    return [m.name for m in sets]


def kept_metric(keep: str) -> str | None:
    """`fd` of `trainer.keep=best_fd`, None of `best` and `last`; BadInput for what is neither."""
    known = {f"best_{name}": name for name in probed()}
    if keep not in (*known, "best", "last"):
        raise unknown("trainer.keep", keep, ["best", "last", *known])
    return known.get(keep)


def wanted(config: dict[str, Any]) -> list[str]:
    """The metrics to measure at each validation: those of `probe`, and what the best is kept by."""
    names = list(config.get("probe") or [])
    for name in names:
        if name not in probed():
            raise unknown("metric to probe", name, probed())
    kept = kept_metric(config["trainer"]["keep"])
    return list(dict.fromkeys([*names, *([kept] if kept else [])]))


class Probe(L.Callback):
    """At each validation logs `val/probe_<metric>` of the averaged weights, and with `_raw` after
    it of those that are trained; `val/probe_kept` is how bad the metric `kept` is.

    Every process looks at the same samples, so the values do not depend on their number. It comes
    before the average of the weights, which it looks at.
    """

    def __init__(self, store: Store, sampler: Any, names: list[str], kept: str | None):
        self.store, self.sampler, self.kept = store, sampler, kept
        self.metrics: list[Metric] = [METRICS[name] for name in names]

    def on_fit_start(self, trainer: L.Trainer, module: Any) -> None:
        """Fix the extractor and the data."""
        self.field = self.store.codec.field
        held, _ = self.store.examples("validation", EXAMPLES)
        self.seen = self.store.examples("train", OBSERVED)
        seen = self.field(self.store.examples("train", 1024)[0])
        self.extractor = RandConv(seen, dims_for(len(held)))
        self.ref, self.train = self.extractor(self.field(held)), self.extractor(seen)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        values = self._values(trainer, module)
        average = next((c for c in trainer.callbacks if isinstance(c, EMA)), None)
        logs = {f"val/probe_{name}": value for name, value in values.items()}
        if average:
            average._swap_models(module)
            logs |= {
                f"val/probe_{name}_raw": v for name, v in self._values(trainer, module).items()
            }
            average._swap_models(module)
        if self.kept:
            logs[KEPT] = badness(METRICS[self.kept], values.get(self.kept))
        module.log_dict(logs, sync_dist=True)

    def _values(self, trainer: L.Trainer, module: Any) -> dict[str, float]:
        """The metrics of fresh samples; those that mean nothing are left out."""
        module.observe(*(x if x is None else x.to(module.device) for x in self.seen))
        ids: Tensor = in_training(trainer, module, len(self.ref), self.sampler)
        gen = self.extractor(self.field(ids.cpu()))
        evidence, found = Evidence(self.store.codec.modality, gen, self.ref, self.train), {}
        for metric in self.metrics:
            try:
                value = metric.fn(evidence)
            except Undefined:
                continue
            found[metric.name] = float(value[0] if isinstance(value, tuple) else value)
        return found


def badness(metric: Metric, value: float | None) -> float:
    """What is smallest where the metric is best."""
    if value is None:
        return WORST
    return {
        "low": value,
        "high": -value,
        "target": abs(value - (metric.target or 0.0)),
    }[metric.better]
