"""What a run may spend: examples, or as many as seconds or operations pay for, or a size.

Comparisons are fair in one respect at a time. `budget.by=seconds`, `flops` or `params` with
`budget.amount` match the cells of a study in training time, training operations or parameters; rows
of results carry it in their protocol.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning as L
import torch

from aigc.core.errors import BadInput, unknown
from aigc.data.datamodule import DataModule
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import Log
from aigc.lab.costs import flops_per_example
from aigc.runs import RunDir

MakeTrainer = Callable[[dict[str, Any], RunDir, GenerativeModule, Store], L.Trainer]
BY = ("examples", "seconds", "flops", "params")
WARM_UP, STEPS = 3, 10  # of a probe
SPARE = 2  # times the examples that a run by the clock is expected to see


def check_budget(config: dict[str, Any]) -> None:
    """Raise BadInput for a budget that says nothing, or that several clocks would have to agree
    on."""
    by, amount = config["budget"]["by"], config["budget"]["amount"]
    if by not in BY:
        raise unknown("budget.by", by, BY)
    if by == "examples" and amount is not None:
        raise BadInput(
            "budget.amount: for budget.by=seconds, flops or params; examples are counted"
        )
    if by != "examples" and not (isinstance(amount, int | float) and amount > 0):
        raise BadInput(f"budget.by={by} needs budget.amount, a number above 0")
    if by == "seconds" and config["strategy"]["name"] != "auto":
        raise BadInput("budget.by=seconds: one process (strategy=single), as clocks do not agree")


def spent(
    config: dict[str, Any],
    run: RunDir,
    goes_on: bool,
    model: GenerativeModule,
    store: Store,
    make_trainer: MakeTrainer,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration with the examples that its budget pays for, and how many these are; of
    seconds, as far as ten steps tell. A run that goes on keeps what it was given."""
    budget = config["budget"]
    if budget["by"] in ("examples", "params"):
        return config, {}
    size, facts = budget["batch_size"], run.status.get("budget") if goes_on else None
    if facts is None:
        if budget["by"] == "flops":
            each = by_flops(config, model, store)
        else:
            each = by_seconds(config, model, store, make_trainer)
        batches = round(budget["amount"] / each / size)
        if batches < 1:
            raise BadInput(
                f"budget.amount={budget['amount']:g}: a batch of {size} takes {each * size:.3g}"
            )
        facts = {"by": budget["by"], "amount": budget["amount"], "an_example": each}
        facts["examples"] = batches * size
    return {**config, "budget": {**budget, "examples": facts["examples"]}}, facts


def data_of(config: dict[str, Any], store: Store) -> DataModule:
    """The stream of a run, which its clock may cut short."""
    budget, trainer = config["budget"], config["trainer"]
    return DataModule(
        store,
        budget["batch_size"],
        budget["examples"] * (SPARE if budget["by"] == "seconds" else 1),
        config["seed"],
        trainer["where"],
        trainer["workers"],
        config["balance"],
    )


def by_flops(config: dict[str, Any], model: GenerativeModule, store: Store) -> float:
    """Training operations an example, counted on a copy: a loss may change what a model keeps."""
    counted = flops_per_example(deepcopy(model), store, min(config["budget"]["batch_size"], 64))
    if not counted:
        raise BadInput("budget.by=flops: the operations of this model cannot be counted")
    return counted


def by_seconds(
    config: dict[str, Any], model: GenerativeModule, store: Store, make_trainer: MakeTrainer
) -> float:
    """Seconds an example, by training ten steps."""
    probe = probed(config, deepcopy(model), store, make_trainer)
    return probe.seconds / STEPS / config["budget"]["batch_size"]


class Probe(L.Callback):
    """Times steps after a warm-up, and the validation that follows them."""

    def __init__(self):
        self.began, self.seconds, self.validating = 0.0, 0.0, 0.0

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if index == WARM_UP - 1:
            self.began = now
        if index == WARM_UP + STEPS - 1:
            self.seconds = now - self.began

    def on_validation_start(self, trainer: L.Trainer, module: Any) -> None:
        self.validating -= time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        self.validating += time.perf_counter()


def probed(
    config: dict[str, Any], model: GenerativeModule, store: Store, make_trainer: MakeTrainer
) -> Probe:
    """Train a few steps and validate once, as the run would, on one device."""
    short, size = deepcopy(config), config["budget"]["batch_size"]
    examples = (WARM_UP + STEPS) * size
    short["budget"] |= {"examples": examples, "by": "examples", "amount": None}
    short["trainer"] |= {"validations": int(config["trainer"]["validations"] > 0)}
    short["trainer"] |= {"keep": "last", "patience": None}
    short["strategy"] = {"name": "auto", "devices": 1, "nodes": 1}
    short["logger"] = {}
    probe = Probe()
    where, workers = config["trainer"]["where"], config["trainer"]["workers"]
    data = DataModule(store, size, examples, config["seed"], where, workers, config["balance"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder) / "plan" / "run")
        (run / "checkpoints").mkdir(parents=True)
        trainer = make_trainer(short, run, model, store)
        trainer.callbacks = [c for c in trainer.callbacks if type(c).__name__ != "Progress"]
        trainer.callbacks.insert(0, probe)
        trainer.fit(model, data)
    return probe


class Clock(L.Callback):
    """Ends training when its own time is over; validations do not count, and what was trained
    before an interruption does."""

    def __init__(self, log: Log, seconds: float):
        self.log_, self.seconds = log, seconds

    @property
    def share(self) -> float:
        """Of the time, 0 to 1."""
        return min(1.0, self.log_.now / self.seconds)

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if self.share >= 1:
            trainer.should_stop = True


def tell_large(budget: dict[str, Any]) -> None:
    """A batch of more than all examples that are asked for is trained on whole."""
    size, asked = budget["batch_size"], budget["examples"]
    if size > asked:
        print(
            f"budget.batch_size={size:,} is more than budget.examples={asked:,}: one batch of "
            f"{size:,} examples",
            file=sys.stderr,
        )
