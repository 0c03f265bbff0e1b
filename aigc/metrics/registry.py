"""The metric registry: a name carries facts, and a value cannot exist without its protocol."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from aigc.core.errors import unknown
from aigc.core.registry import Registry

MODALITIES = frozenset({"text", "image", "audio", "tabular"})
FEATURES = frozenset({"gen", "ref"})


class Value(NamedTuple):
    """A metric's value with its standard deviation and, of a test, its p-value."""

    value: float
    sd: float | None = None
    p: float | None = None


class Pairs(NamedTuple):
    """Data and what a model makes of them: pictures `(n, C, H, W)` in [0, 1], or waves `(n, T)`
    at `rate` Hz."""

    original: Tensor
    rebuilt: Tensor
    rate: int = 0


class Judged(NamedTuple):
    """What a language model says of `texts` texts: nats and predicted tokens of each text or window
    `(n,)`, and the entropy in bits of the tokens in it `(n,)`."""

    nats: Tensor
    tokens: Tensor
    entropy: Tensor
    texts: int


class Rows(NamedTuple):
    """A table as ids: `gen`, `ref` and `train (n, columns)`. `ordered` says of each column whether
    its levels have an order; `labels (n,)` of the three, where the data set has any."""

    gen: Tensor
    ref: Tensor
    train: Tensor
    ordered: tuple[bool, ...]
    labels: tuple[Tensor | None, Tensor, Tensor] | None = None


@dataclass
class Evidence:
    """What there is to judge a model by; what is absent is None, and metrics that need it are
    skipped.

    Features are float64 `(n, d)` of one extractor: `gen` of the model, `ref` of the reference
    split, `train` of the training split. `nats (n_ref,)` bounds `-log p` of each reference
    example, which has `dims` ids and, for text, `nbytes (n_ref,)` bytes and `tokens (n_ref,)`
    that are predicted. `continued` are texts that the model wrote after beginnings of reference
    examples, and how those do go on; `written` are whole texts of its own, `judged` what another
    language model says of them. `probs (n, classes)`
    are a classifier's for generated, `ref_probs` for reference examples; `perceived (n_pairs,)`
    distances of the pairs to a perceptual network. `by` names the network that gave a field,
    `missing` says why one is absent. `gen_y`, `ref_y`, `train_y`
    are labels, where samples were drawn class by class; `blind` are then the features of `gen`,
    `ref` and `train` without columns that are the label again, where a table has such.
    """

    modality: str
    gen: Tensor | None = None
    ref: Tensor | None = None
    train: Tensor | None = None
    nats: Tensor | None = None
    dims: int = 0
    nbytes: Tensor | None = None
    tokens: Tensor | None = None
    continued: tuple[list[str], list[str]] | None = None
    written: list[str] | None = None
    judged: Judged | None = None
    pairs: Pairs | None = None
    perceived: Tensor | None = None
    rows: Rows | None = None
    probs: Tensor | None = None
    ref_probs: Tensor | None = None
    cost: dict[str, float] = field(default_factory=dict)
    gen_y: Tensor | None = None
    ref_y: Tensor | None = None
    train_y: Tensor | None = None
    blind: tuple[Tensor, Tensor, Tensor] | None = None
    by: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
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

    `fn(evidence)` gives a value, `(value, sd)` or a Value. `better` is `low`, `high` or `target`
    (then `target` is best). `needs` names fields of Evidence (or keys of its `cost`). `min_n(d)` is
    the smallest number of examples for which the value means something with `d` features. `cost`
    is `cheap` (well below a second at n = 1,000), `model` (another model is trained, read or run)
    or `slow`; what is `shown` is computed and compared unless something else is asked for.
    `stat` is `mean` where the value is a mean over items, so that items may be resampled, `set`
    for a function of the whole set, `count` for what has no spread.
    """

    name: str
    fn: Callable[[Evidence], float | tuple[float, float | None] | Value]
    better: Literal["low", "high", "target"]
    axis: Literal["fidelity", "diversity", "memorisation", "likelihood", "cost"]
    needs: frozenset[str]
    modalities: frozenset[str] = MODALITIES
    target: float | None = None
    version: int = 1
    spread: bool = False  # whether the sd comes from halves of the examples
    min_n: Callable[[int], int] = lambda d: 2
    cost: Literal["cheap", "model", "slow"] = "cheap"
    shown: bool = True
    stat: Literal["mean", "set", "count"] = "set"
    signature: Callable[[Evidence], str] | None = None  # what else must be equal to compare
    about: str = ""
    by_class: bool = False  # computed where samples are drawn class by class, and only there

    @property
    def words(self) -> set[str]:
        """What one may say to mean this metric, among others."""
        if self.by_class:
            return {self.name}
        return {self.name, self.cost, "all"} | ({"shown"} if self.shown else set())


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


CLASSES = ("shown", "cheap", "model", "slow")


def chosen(names: str | Iterable[str] | None, modality: str) -> list[Metric]:
    """The metrics of a modality that are meant: names, the classes `shown`, `cheap`, `model` and
    `slow`, `all`; None is `shown`. Raises BadInput for an unknown one."""
    words = ["shown"] if names is None else [names] if isinstance(names, str) else list(names)
    for word in words:
        if word not in (*CLASSES, "all", *METRICS):
            raise unknown("metric", word, [*METRICS, *CLASSES, "all"])
    return [m for m in METRICS.values() if modality in m.modalities and m.words & set(words)]


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
