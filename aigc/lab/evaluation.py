"""`aigc evaluate`: sample a run, judge it by the registry, and put the reference rows beside it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import seeds
from aigc.families.base import GenerativeModule
from aigc.lab import extractors, ranks
from aigc.lab.callbacks import reseed
from aigc.lab.conf import describe
from aigc.lab.costs import more_costs, timed_samples
from aigc.lab.judge import Judge, marked, needed
from aigc.lab.neighbours import save_nearest
from aigc.lab.opinion import opinion
from aigc.lab.run import Run, Samples
from aigc.lab.training import quiet
from aigc.metrics.registry import Pairs, chosen
from aigc.metrics.suite import judge
from aigc.runs import RunDir, shown_folder

SHOWN = 64
QUICK = 1000  # examples of a quick evaluation at most
CONTINUED = 256  # reference texts that a model goes on from
REBUILT = 256  # reference examples that it gives back


def evaluate(run: Run, config: dict[str, Any]) -> RunDir:
    """Judge `run` and add the rows to its `results.jsonl`, the reference rows to
    `references.jsonl`.

    With `devices` above 1 as many processes draw samples, likelihoods and continuations, and the
    first one judges them.
    """
    quiet()
    with ranks.joined("evaluate", config) as rank:
        return _evaluate(run, config, rank)


def _evaluate(run: Run, config: dict[str, Any], rank: int) -> RunDir:
    counts, names = run.store.meta["counts"], config["metrics"]
    n = size(
        config["n"], min(counts["test"], counts["validation"]), run.config["budget"]["samples"]
    )
    if config["by_class"]:
        from aigc.lab.classes import evaluate_by_class

        return evaluate_by_class(run, config, n, rank)
    quick = config["n"] == "quick"
    if not rank:
        known = replace(run.store, labelled=True)  # the judge sees classes that the model does not
        judge_ = Judge(known, n, config["extractors"], names=names, quick=quick)
    needs, (ref, y) = needed(names, run.codec.modality), run.store.examples("test", n)
    node, seed, batch = config["sampler"], config["seed"], config["batch_size"]
    strategy = run.strategy(node)
    samples, cost = timed_samples(run, n, seed, strategy, batch)
    facts: dict[str, Any] = {"cost": cost}
    if "nats" in needs:
        facts["nats"] = likelihood(run, ref, y, batch)
    if "continued" in needs:
        facts["continued"] = continuations(run, ref, y, seed, strategy, batch)
    ranks.leave()
    if rank:
        return run.dir
    cost |= more_costs(run, judge_.needs, strategy, batch)
    folder = save_shown(run, samples, describe(node), seed, n, judge_)
    if "judged" in judge_.needs:
        facts |= opinion(config["judge"], run.codec.decode(samples.ids))
    if judge_.needs & {"pairs", "perceived"}:
        facts |= reconstructions(run, judge_)
    evidence = judge_.evidence(samples.ids, samples.y, **facts)
    save_nearest(folder, samples.ids, judge_, evidence)
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
    run.dir.add_rows([{**row, **facts} for row in marked(rows, run.config)])
    run.dir.add_rows(marked(judge_.cached_baselines(), run.config), "references.jsonl")
    return run.dir


def size(asked: int | str | None, there: int, budget: int) -> int:
    """How many examples are judged: a number, `quick`, or as many as there are and were planned."""
    if asked == "quick":
        return min(QUICK, there)
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise BadInput(f"n={asked}: a number of examples, or quick")
    return asked or min(budget, there)


def judged(run: RunDir) -> bool:
    """Whether every metric that is shown has a row, computed or skipped with a reason."""
    wanted = {m.name for m in chosen(None, run.config["modality"]["name"])}
    return {row["metric"] for row in run.rows()} >= wanted


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

    def nats_of(i: int) -> Tensor:
        rows = slice(i * batch, (i + 1) * batch)
        part, part_y = ids[rows].to(model.device), None if y is None else y[rows].to(model.device)
        reseed(seeds(0, 2, i), model.device)
        nats = model.nats(model.view.encode(part), part_y).double()
        rest = getattr(model.view, "nats", None)
        return (nats + rest(part) if rest else nats).cpu()

    return torch.cat(ranks.each(-(-len(ids) // batch), nats_of))


def continuations(
    run: Run, ref: Tensor, y: Tensor | None, seed: int, strategy: Any, batch: int
) -> tuple[list[str], list[str]] | None:
    """What the model writes after the beginnings of texts, and what stands there; None where it
    takes no prompt."""
    if "prompts" not in run.model.provides or not hasattr(run.codec, "beginnings"):
        return None
    prompts, wanted = run.codec.beginnings(ref[:CONTINUED])
    y = None if y is None else y[:CONTINUED]
    found = run.sample(len(prompts), seed, y, strategy, batch, prompts)
    return run.codec.endings(found.ids), wanted


@torch.no_grad()
def reconstructions(run: Run, judge_: Judge) -> dict[str, Any]:
    """Reference examples beside what the model makes of them by its latents, and their distance
    to a perceptual network; nothing for a model without latents."""
    model, codec = run.model, run.codec
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        return {}
    ids = judge_.ref[:REBUILT].to(run.device)
    known = run.store.labelled and judge_.y is not None
    y = judge_.y[:REBUILT].to(run.device) if known else None
    reseed(0, model.device)
    rebuilt = model.view.decode(model.decode(model.encode(model.view.encode(ids), y), y))
    both = (ids.cpu(), rebuilt.cpu())
    if codec.modality == "image":
        pairs = Pairs(*(codec.field(x).double() for x in both))
        return {"pairs": pairs} | extractors.perceived(pairs, judge_.needs)
    if codec.modality == "audio":
        return {"pairs": Pairs(*(codec.waves(x).double() for x in both), codec.rate)}
    return {}


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
