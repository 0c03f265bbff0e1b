"""The health of a training without likelihood: how good and how varied samples are, on held-out
data, and an alarm where they collapse."""

import sys
from typing import Any

import lightning as L
import torch
from torch import Tensor

from aigc.data.store import Store
from aigc.lab.ranks import in_training
from aigc.metrics.distance import frechet
from aigc.metrics.features import RandConv, dims_for
from aigc.metrics.structure import prdc
from aigc.runs import RunDir

EXAMPLES = 256  # validation examples, and as many samples
START = 0.25  # share of the run in which no alarm is raised: every generator begins with nothing
FAINT = 0.01  # share of the real variance below which samples are one sample
LOST = 0.1  # share of real data's recall and coverage below which modes are lost


def examine(ref: Tensor, gen: Tensor) -> dict[str, float]:
    """Features `(n, d)` of unseen and of other data to their Frechet distance, recall and coverage
    (Kynkaanniemi et al. 2019; Naeem et al. 2020), and `spread`, the ratio of their variances."""
    found = prdc(ref, gen)
    spread = float(gen.var(0).sum() / ref.var(0).sum())
    values = {"fd": frechet(ref, gen), "spread": spread}
    return values | {name: found[name] for name in ("recall", "coverage")}


def collapse(values: dict[str, float], real: dict[str, float]) -> str | None:
    """What is wrong with samples that have collapsed, beside what `real` data reach; else None.

    Either they do not vary, or they neither span the held-out data (recall) nor come near them
    (coverage): poor samples that do vary keep some recall.
    """
    if values["spread"] < FAINT:
        return f"samples vary by {values['spread']:.1%} of real data's variance"
    if all(values[name] < LOST * real[name] for name in ("recall", "coverage")):
        shares = (f"{name} {values[name]:.0%} (real data {real[name]:.0%})" for name in real)
        return f"held-out data are lost: {', '.join(shares)}"
    return None


class Health(L.Callback):
    """At each validation logs `val/fd`, `val/recall`, `val/coverage`, `val/spread`, and
    `val/critic_gap`, the mean score of training over that of held-out examples: a critic that
    memorises lets it grow.

    `val/collapsed` is 1 while they have collapsed; that is told on stderr and kept in the run's
    status when it begins and when it ends. It comes before the average of the weights, which it
    looks at.
    """

    def __init__(self, store: Store, run: RunDir, sampler: Any, batches: int, batch_size: int):
        self.store, self.run, self.sampler = store, run, sampler
        self.batches, self.batch_size, self.alarm = batches, batch_size, ""

    def state_dict(self) -> dict[str, str]:
        """The alarm."""
        return {"alarm": self.alarm}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Take the alarm over."""
        self.alarm = state["alarm"]

    def on_fit_start(self, trainer: L.Trainer, module: Any) -> None:
        """Fix the extractor and what real data reach."""
        held, seen = (self.store.examples(split, EXAMPLES) for split in ("validation", "train"))
        self.held, self.seen = held, seen
        self.field = self.store.codec.field
        fit_on = self.field(self.store.examples("train", 1024)[0])
        self.extractor = RandConv(fit_on, dims_for(len(held[0])))
        self.ref = self.extractor(self.field(held[0]))
        found = examine(self.ref, self.extractor(self.field(seen[0])))
        self.real = {name: found[name] for name in ("recall", "coverage")}

    def on_validation_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        """Every process looks at the same samples; the first one speaks."""
        ids = in_training(trainer, module, len(self.ref), self.sampler)
        values = examine(self.ref, self.extractor(self.field(ids.cpu())))
        if hasattr(module, "scores"):
            values["critic_gap"] = self._score(module, *self.seen) - self._score(module, *self.held)
        done = trainer.fit_loop.epoch_loop.batch_idx + 1
        problem = collapse(values, self.real) if done >= START * self.batches else None
        module.log_dict({f"val/{k}": v for k, v in values.items()}, sync_dist=True)
        module.log("val/collapsed", float(bool(problem)), sync_dist=True)
        if trainer.is_global_zero:
            self._tell(problem, done * self.batch_size)

    @torch.no_grad()
    def _score(self, module: Any, ids: Tensor, y: Tensor | None) -> float:
        y = None if y is None else y.to(module.device)
        return float(module.scores(module.view.encode(ids.to(module.device)), y).mean())

    def _tell(self, problem: str | None, examples: int) -> None:
        if bool(problem) == (self.alarm != "" and "; over" not in self.alarm):
            return
        over = f"{self.alarm}; over by {examples:,}"
        self.alarm = f"collapsed at {examples:,} examples: {problem}" if problem else over
        print(self.alarm, file=sys.stderr, flush=True)
        self.run.mark("running", alarm=self.alarm)
