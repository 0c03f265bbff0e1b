"""The metric registry: a name carries facts, and a value cannot exist without its protocol."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from aigc.core.registry import Registry

MODALITIES = frozenset({"text", "image", "audio", "tabular"})


@dataclass
class Evidence:
    """What there is to judge a model by; what is absent is None, and metrics that need it are
    skipped.

    Features are float64 `(n, d)` of one extractor: `gen` of the model, `ref` of the reference
    split, `train` of the training split. `nats (n_ref,)` bounds `-log p` of each reference
    example, which has `dims` ids and, for text, `nbytes (n_ref,)` bytes. `continued` are texts that
    the model wrote after beginnings of reference examples, and how those do go on. `gen_y`,
    `ref_y`, `train_y` are labels, where samples were drawn class by class.
    """

    modality: str
    gen: Tensor | None = None
    ref: Tensor | None = None
    train: Tensor | None = None
    nats: Tensor | None = None
    dims: int = 0
    nbytes: Tensor | None = None
    continued: tuple[list[str], list[str]] | None = None
    cost: dict[str, float] = field(default_factory=dict)
    gen_y: Tensor | None = None
    ref_y: Tensor | None = None
    train_y: Tensor | None = None
    _memo: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, computed once for all metrics that share it."""
        if name not in self._memo:
            self._memo[name] = make()
        return self._memo[name]

    def halves(self, draws: int = 20) -> list["Evidence"]:
        """Random halves of the examples, the same for every metric."""
        return self.once("halves", lambda: [self._half(seed) for seed in range(draws)])

    def _half(self, seed: int) -> "Evidence":
        generator = torch.Generator().manual_seed(seed)
        gen, ref = (
            x[torch.randperm(len(x), generator=generator)[: len(x) // 2]]
            for x in (self.gen, self.ref)
        )
        return Evidence(self.modality, gen, ref, self.train, dims=self.dims)


@dataclass(frozen=True)
class Metric:
    """A metric and its facts.

    `fn(evidence)` gives a value, or `(value, sd)`. `better` is `low`, `high` or `target` (then
    `target` is best). `needs` names fields of Evidence (or keys of its `cost`). `min_n(d)` is
    the smallest number of examples for which the value means something with `d` features.
    """

    name: str
    fn: Callable[[Evidence], float | tuple[float, float]]
    better: Literal["low", "high", "target"]
    axis: Literal["fidelity", "diversity", "memorisation", "likelihood", "cost"]
    needs: frozenset[str]
    modalities: frozenset[str] = MODALITIES
    target: float | None = None
    version: int = 1
    spread: bool = False  # whether the sd comes from halves of the examples
    min_n: Callable[[int], int] = lambda d: 2
    signature: Callable[[Evidence], str] | None = None  # what else must be equal to compare
    about: str = ""
    by_class: bool = False  # computed where samples are drawn class by class, and only there


class Undefined(ValueError):
    """What a metric raises where its value means nothing; the row keeps the message as reason."""


METRICS: Registry[Metric] = Registry("metric")


def metric(name: str, *, needs: set[str], **facts: Any) -> Callable:
    """Register a function of Evidence as a metric; the docstring's first paragraph describes it."""

    def add(fn: Callable) -> Callable:
        about = " ".join((fn.__doc__ or "").split("\n\n")[0].split())
        METRICS.add(name, Metric(name, fn, needs=frozenset(needs), about=about, **facts))
        return fn

    return add


def spread_over_halves(metric_: Metric, evidence: Evidence) -> float | None:
    """Standard deviation of a set metric over random halves of the examples (delete-half
    jackknife).

    For a smooth statistic it equals that of the whole set. Halves hold no example twice, which
    suits nearest neighbours, and lie closer to the spread over fresh draws than the bootstrap
    does: at n = 500, d = 16, fresh / half / bootstrap are .107 / .136 / .147 for FD, .023 / .027
    / .034 for coverage. The mean over halves is biased, so intervals are value +- 1.96 sd. None
    above 4,000 examples, where it costs too much.
    """
    if max(len(evidence.gen), len(evidence.ref)) > 4000:
        return None
    values = torch.tensor([metric_.fn(half) for half in evidence.halves()], dtype=torch.float64)
    return float(values.std())
