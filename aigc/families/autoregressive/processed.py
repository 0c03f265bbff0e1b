"""The logits processors of `transformers`, composed in one pick, and guidance by a class."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.families.autoregressive.sampling import Pick, select


@dataclass(frozen=True)
class Processed(Pick):
    """What is left of the law after each processor that is given, in the order of
    `transformers.generate`.

    `repetition_penalty` (Keskar et al. 2019), `no_repeat_ngram` (its length), `temperature`,
    `top_k`, `top_p`, `min_p` (Nguyen et al. 2024), `typical` (mass; Meister et al. 2023),
    `epsilon` and `eta` (Hewitt et al. 2022). `guidance` above 1 sharpens the class (see Guided).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical: float | None = None
    epsilon: float | None = None
    eta: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    guidance: float = 1.0

    def __post_init__(self):
        for name in ("temperature", "top_k", "repetition_penalty", "no_repeat_ngram"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise BadInput(f"sampler.{name}={value}: above 0, or null")
        for name in ("top_p", "min_p", "typical", "epsilon", "eta"):
            if (value := getattr(self, name)) is not None and not 0 < value < 1:
                raise BadInput(f"sampler.{name}={value}: between 0 and 1, or null")

    def probs(self, logits_BV: Tensor, ids_BT: Tensor | None = None) -> Tensor:
        """Processed, then normalised."""
        scores = logits_BV.double()
        if ids_BT is None:
            ids_BT = logits_BV.new_zeros(len(logits_BV), 0).long()
        for process in self._processors:
            scores = process(ids_BT, scores)
        return scores.softmax(-1)

    @cached_property
    def _processors(self) -> list[Any]:
        from transformers.generation import logits_process as lp

        classes = {
            "repetition_penalty": lp.RepetitionPenaltyLogitsProcessor,
            "no_repeat_ngram": lp.NoRepeatNGramLogitsProcessor,
            "temperature": lp.TemperatureLogitsWarper,
            "top_k": lp.TopKLogitsWarper,
            "top_p": lp.TopPLogitsWarper,
            "min_p": lp.MinPLogitsWarper,
            "typical": lp.TypicalLogitsWarper,
            "epsilon": lp.EpsilonLogitsWarper,
            "eta": lp.EtaLogitsWarper,
        }
        values = {name: getattr(self, name) for name in classes}
        return [classes[name](value) for name, value in values.items() if value is not None]


class Guided:
    """Classifier-free guidance as a CausalLM of its own (Sanchez et al. 2023, eq. 7).

    `log p = log p(x) + scale (log p(x | y) - log p(x))`, not normalised; `null` is the label that
    stands for none. Every call is two of `net`.
    """

    def __init__(self, net: Any, null: int, scale: float):
        self.net, self.null, self.scale = net, null, scale
        self.before = getattr(net, "before", 0)

    def __call__(self, ids: Tensor, y: Tensor, cache: "Both | None" = None) -> Tensor:
        """As the role says."""
        given, free = (None, None) if cache is None else (cache.given, cache.free)
        with_y = self.net(ids, y, given).log_softmax(-1)
        without = self.net(ids, torch.full_like(y, self.null), free).log_softmax(-1)
        return without + self.scale * (with_y - without)

    def cache(self, batch: int) -> "Both":
        """Two caches of `net`."""
        return Both(self.net.cache(batch), self.net.cache(batch))


@dataclass
class Both:
    """The caches with and without the label."""

    given: Any
    free: Any

    @property
    def length(self) -> int:
        """What both have read, the start included."""
        return self.given.length

    @length.setter
    def length(self, value: int) -> None:
        """Forget what comes after."""
        self.given.length = self.free.length = value

    def select(self, rows: Tensor) -> None:
        """Keep rows of both."""
        select(self.given, rows)
        select(self.free, rows)
