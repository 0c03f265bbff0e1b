"""What a run may spend: examples, or as many as seconds or operations pay for, or a size.

Comparisons are fair in one respect at a time. `budget.by=seconds`, `flops` or `params` with
`budget.amount` match the cells of a study in training time, training operations or parameters; rows
of results carry it in their protocol.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from aigc.core.errors import BadInput, unknown
from aigc.data.datamodule import DataModule
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import Log
from aigc.lab.costs import flops_per_example
from aigc.runs import RunDir

BY = ("examples", "seconds", "flops", "params")
WIDTHS = {"channels": 1, "width": 4, "hidden": 4}  # what a width is a multiple of
NEAR = 0.05  # how far from the parameters that were asked for
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
    config: dict[str, Any], run: RunDir, goes_on: bool, model: GenerativeModule, store: Store
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration with the examples that its budget pays for, and how many these are; of
    seconds, as far as ten steps tell. A run that goes on keeps what it was given."""
    budget = config["budget"]
    if budget["by"] in ("examples", "params"):
        return config, {}
    size, facts = budget["batch_size"], run.status.get("budget") if goes_on else None
    if facts is None:
        measure = by_flops if budget["by"] == "flops" else by_seconds
        each = measure(config, model, store)
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


def by_seconds(config: dict[str, Any], model: GenerativeModule, store: Store) -> float:
    """Seconds an example, by training ten steps."""
    from aigc.lab.plan import STEPS, probed

    return probed(config, deepcopy(model), store).seconds / STEPS / config["budget"]["batch_size"]


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


def matched(config: DictConfig) -> dict[str, Any]:
    """A configuration resolved with the widths for which the model has as many parameters as are
    asked for; BadInput where none comes near."""
    goal = config.budget.amount
    if not (isinstance(goal, int | float) and goal > 0):
        raise BadInput("budget.by=params needs budget.amount, a number above 0")
    base = {name: config.budget[name] for name in WIDTHS}
    seen: dict[tuple, tuple[int, dict[str, Any]]] = {}

    def size(factor: float) -> int:
        """Parameters at so many times the widths, or a little more where heads divide none."""
        for _ in range(8):
            for name, unit in WIDTHS.items():
                config.budget[name] = max(unit, unit * round(base[name] * factor / unit))
            key = tuple(config.budget[name] for name in WIDTHS)
            if key not in seen:
                plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
                seen[key] = _parameters(plain), plain
            if seen[key][0]:
                break
            factor *= 1.03
        return seen[key][0]

    low, high = _bracket(size, goal)
    for _ in range(12):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if size(middle) < goal else (low, middle)
    for step in range(-12, 13):
        size(low * (1 + step / 50))
    found = sorted(seen.values(), key=lambda one: abs(one[0] - goal))
    n, plain = next((one for one in found if _runs(one[1])), found[0])
    if abs(n - goal) > NEAR * goal:
        widths = ", ".join(f"{name}={plain['budget'][name]}" for name in WIDTHS)
        raise BadInput(
            f"budget.by=params budget.amount={goal:,.0f}: the nearest is {n:,} ({widths}), more "
            f"than {NEAR:.0%} away; ask for that, or change budget.depth"
        )
    return plain


def _bracket(size: Callable[[float], int], goal: float) -> tuple[float, float]:
    """Factors of the widths below and above the goal, a doubling apart, or the smallest twice."""
    factor = 1.0
    while size(factor) > goal and factor > 2**-6:
        factor /= 2
    while (n := size(factor)) < goal:
        factor *= 2
        if size(factor) == n:
            raise BadInput("budget.by=params: no network of this run takes its width of the budget")
    return factor / 2, factor


def _built(config: dict[str, Any]) -> tuple[Store, GenerativeModule]:
    from aigc.lab import build
    from aigc.lab.check import trust
    from aigc.lab.training import untrained
    from aigc.lab.validate import validate

    build.plugins(config)
    trust(config)
    validate(config)
    store, _, model = untrained(config)
    return store, model


def _parameters(config: dict[str, Any]) -> int:
    """Of the model; none where it cannot be built."""
    try:
        return sum(p.numel() for p in _built(config)[1].parameters())
    except BadInput:
        raise
    except Exception:  # heads that do not divide a width, groups that do not divide channels
        return 0


def _runs(config: dict[str, Any]) -> bool:
    """Whether a model of these widths gives a loss."""
    try:
        store, model = _built(config)
        ids, y = store.examples("train", 2)
        return bool(model.loss(model.view.encode(ids), y).value.isfinite())
    except Exception:
        return False
