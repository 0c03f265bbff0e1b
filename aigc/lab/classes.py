"""`aigc evaluate run=DIR by_class=true`: samples with the labels of the reference examples, judged
class by class."""

from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.lab import ranks
from aigc.lab.conf import describe
from aigc.lab.judge import Judge, marked
from aigc.lab.run import Run
from aigc.metrics.classes import PER_CLASS, of_class
from aigc.metrics.features import dims_for
from aigc.metrics.registry import METRICS
from aigc.metrics.suite import Row, judge
from aigc.runs import RunDir


def evaluate_by_class(run: Run, config: dict[str, Any], n: int, rank: int = 0) -> RunDir:
    """Add to the run's results rows for each class (they carry `class`) and rows over the tail;
    `n` is how many reference examples there are in all."""
    store, seed = run.store, config["seed"]
    _, y = store.examples("test", n)
    if y is None or y.ndim > 1:
        raise BadInput(f"by_class=true: {store.meta['name']} has no classes")
    counts = torch.bincount(y, minlength=store.space.classes)
    if not rank:
        judge_ = Judge(store, n, config["extractors"], dims_for(int(counts.min())))
    node = config["sampler"]
    strategy = run.strategy(node)
    samples = run.sample(len(y), seed, y, strategy, config["batch_size"])
    ranks.leave()
    if rank:
        return run.dir
    rows = rows_by_class(judge_, samples.ids, y)
    facts: Row = {"sampler": describe(node), "nfe": None, "seed": seed}
    facts |= {"ema": run.config["model"]["ema"], "batch_size": config["batch_size"]}
    run.dir.add_rows([{**row, **facts} for row in marked(rows, run.config)])
    unseen = rows_by_class(judge_, *store.examples("validation", n))
    ok = [{"of": "real", **row} for row in unseen if row["status"] == "ok"]
    run.dir.add_rows(marked(ok, run.config), "references.jsonl")
    return run.dir


def rows_by_class(judge_: Judge, ids: Tensor, y: Tensor) -> list[Row]:
    """Rows of generated (or other) ids with labels `y (N,)`: over the tail, then of each class."""
    evidence = judge_.evidence(ids, gen_y=y, ref_y=judge_.y, train_y=judge_.fit_on_y)
    for name, features in judge_.blind(ids).items():
        evidence[name].blind = features
    names = [m.name for m in METRICS.values() if m.by_class]
    rows = judge(evidence, f"{judge_.reference} by class", names=names)
    for k, name in enumerate(judge_.store.meta["class_names"]):
        part = {extractor: of_class(one, k) for extractor, one in evidence.items()}
        found = judge(part, f"{judge_.reference} class={k}", names=PER_CLASS)
        rows += [{**row, "class": k, "class_name": name} for row in found]
    return rows
