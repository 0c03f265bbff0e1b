"""`budget.by=params`: the widths for which a model has as many parameters as are asked for."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aigc.core.errors import BadInput
from aigc.data.store import Store
from aigc.families.base import GenerativeModule
from aigc.lab import build
from aigc.lab.check import trust
from aigc.lab.training import untrained
from aigc.lab.validate import validate

WIDTHS = {"channels": 1, "width": 4, "hidden": 4}  # what a width is a multiple of
NEAR = 0.05  # how far from the parameters that were asked for


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
