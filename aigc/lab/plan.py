"""`aigc plan`: what a run or a sweep will cost, before it is started. It refuses nothing.

Ten steps are really trained, by the trainer that would train the run, in a folder that is thrown
away; operations and memory are counted on one batch.
"""

import sys
from dataclasses import dataclass
from typing import Any

import torch

from aigc.core.errors import BadInput
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build
from aigc.lab.budget import STEPS, probed
from aigc.lab.check import trust
from aigc.lab.conf import compose
from aigc.lab.costs import flops_per_example
from aigc.lab.listing import table
from aigc.lab.training import make_trainer, quiet, untrained
from aigc.lab.validate import validate
from aigc.runs import signature

STATES = 2  # files that a run can go on from, kept while it trains


@dataclass
class Cost:
    """What one run takes: bytes, operations, and seconds on one device of this machine."""

    parameters: int
    memory: int
    flops: float | None
    speed: float
    seconds: float
    disk: int
    peak_disk: int


def main(words: list[str]) -> None:
    """`aigc plan [-m] setting=value ...`, the words of `aigc train`."""
    quiet()
    cells = commands([w for w in words if w not in ("-m", "--multirun")], words)
    configs = [compose("train", cell) for cell in cells]
    rows, total = [], 0.0
    for i, config in enumerate(configs, 1):
        print(f"{i}/{len(configs)}  {signature(config)}", file=sys.stderr, flush=True)
        cost = planned(config)
        world = _processes(config)
        total += cost.seconds / world
        rows.append(_row(config, cost, world))
    table("expected costs", HEAD, rows)
    if len(rows) > 1:
        print(f"{len(rows)} cells, one after another: {_time(total)}")


def commands(words: list[str], flags: list[str]) -> list[list[str]]:
    """The words of each cell of a grid; of the one run without `-m`."""
    if other := [w for w in words if w.startswith("-")]:
        raise BadInput(f"plan takes settings and -m, not '{other[0]}'")
    if not {"-m", "--multirun"} & set(flags):
        return [words]
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(words)
    return BasicSweeper.split_arguments(parsed, None)[0]


def planned(config: dict[str, Any]) -> Cost:
    """The cost of a run, of which ten steps are trained here."""
    build.plugins(config)
    trust(config)
    validate(config)
    store, _, model = untrained(config)
    budget = config["budget"]
    weights = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    averaged = trained if config["model"]["ema"] else 0
    memory = weights + 3 * trained + averaged + activations(model, store, budget["batch_size"])
    flops = flops_per_example(model, store, min(budget["batch_size"], 64))
    if budget["by"] == "flops" and flops:
        budget = {**budget, "examples": budget["amount"] / flops}
    probe = probed(config, model, store, make_trainer)
    speed = STEPS * budget["batch_size"] / probe.seconds
    if budget["by"] == "seconds":
        budget = {**budget, "examples": budget["amount"] * speed}
    seconds = budget["examples"] / speed + config["trainer"]["validations"] * probe.validating
    state = weights + 2 * trained + averaged
    return Cost(
        sum(p.numel() for p in model.parameters()),
        memory,
        flops and flops * budget["examples"],
        speed,
        seconds,
        weights,
        STATES * state + weights,
    )


def activations(model: GenerativeModule, store: Store, batch: int) -> int:
    """Bytes that the graph of a loss keeps for its backward pass, each storage once."""
    ids, y = store.examples("train", batch)
    kept: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = model.loss(model.view.encode(ids), y).value
    del loss
    return sum(size for place, size in kept.items() if place not in own)


HEAD = ["run", "parameters", "memory", "FLOPs", "examples/s", "time", "disk", "while it trains"]


def _row(config: dict[str, Any], cost: Cost, world: int) -> list[str]:
    share = f" (/{world})" if world > 1 else ""
    return [
        signature(config),
        f"{cost.parameters:,}",
        _bytes(cost.memory),
        f"{cost.flops:.2g}" if cost.flops else "",
        f"{cost.speed * world:,.0f}",
        f"{_time(cost.seconds / world)}{share}",
        _bytes(cost.disk),
        _bytes(cost.peak_disk),
    ]


def _processes(config: dict[str, Any]) -> int:
    """Processes of the run, which are taken to share its time evenly; `auto` is one here."""
    devices = config["strategy"]["devices"]
    each = len(devices) if isinstance(devices, list) else devices if devices != "auto" else 1
    return max(1, int(each)) * config["strategy"]["nodes"]


def _bytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size > 1e9 else f"{size / 1e6:,.1f} MB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
