"""What a search may choose from: the sweeps of Hydra's grammar, as distributions.

`a,b,c`, `choice(...)`, `range(...)` and `glob(...)` are choices, `interval(low, high)` is uniform,
`tag(log, interval(low, high))` uniform in the logarithm, `int(interval(low, high))` whole numbers.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from aigc.core.errors import BadInput


@dataclass(frozen=True)
class Choice:
    """One of some values, as they are written."""

    values: tuple[str, ...]

    def draw(self, u: float) -> str:
        """The value at `u` in [0, 1)."""
        return self.values[int(u * len(self.values))]


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`, both included where it is whole."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, u: float) -> str:
        """The value at `u` in [0, 1)."""
        low, high = self.low, self.high + (1 if self.whole else 0)
        x = exp(log(low) + u * (log(high) - log(low))) if self.log else low + u * (high - low)
        return str(int(x)) if self.whole else repr(float(x))


Space = dict[str, Choice | Interval]


def split(overrides: Sequence[Any]) -> tuple[list[str], Space]:
    """Hydra's parsed overrides as words that are fixed and a space of the others."""
    fixed, space = [], {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            fixed.append(f"{key}={override.get_value_element_as_str()}")
        elif override.is_discrete_sweep():
            space[key] = Choice(tuple(override.sweep_string_iterator()))
        else:
            space[key] = _interval(key, override.value())
    if not space:
        raise BadInput(
            "nothing to search: give some settings several values, as model.latent=8,16 or "
            "'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
        )
    return fixed, space


def random_words(space: Space, seed: int, trial: int) -> dict[str, str]:
    """Values of a trial, a function of (seed, trial, key): more trials add to fewer."""
    return {
        key: choice.draw(random.Random(f"{seed} {trial} {key}").random())
        for key, choice in space.items()
    }


def _interval(key: str, sweep: Any) -> Interval:
    low, high = sweep.start, sweep.end
    whole = isinstance(low, int) and isinstance(high, int)
    logarithmic = "log" in sweep.tags
    if not low < high or (logarithmic and low <= 0):
        raise BadInput(f"{key}: an interval from {low} to {high}{' in the log' * logarithmic}")
    return Interval(low, high, logarithmic, whole)
