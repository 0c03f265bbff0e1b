"""What every part of an inspection looks at: a run, and the examples that are held against it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc.core.rng import seeds
from aigc.lab.callbacks import reseed
from aigc.lab.latents import kl_by_dimension
from aigc.lab.run import Run

BATCH = 256


@dataclass
class Look:
    """A run and at most `n` examples of its test split; as many of `train` to fit probes on."""

    run: Run
    n: int
    seed: int

    @cached_property
    def ids(self) -> Tensor:
        """Test examples."""
        return self.run.store.examples("test", self.n)[0]

    @cached_property
    def y(self) -> Tensor | None:
        """What the model is told of them: labels, captions or nothing."""
        return self.run.store.examples("test", self.n)[1]

    def targets(self, split: str) -> dict[str, np.ndarray]:
        """What is known of the examples of a split, told to the model or not: the label, and
        factors by name."""
        store = replace(self.run.store, labelled=True)
        rows, out = store.rows(split, self.n), {}
        labels, factors = store.labels(split), store.factors(split)
        if labels is not None and labels.ndim == 1:
            out["label"] = labels[rows]
        if factors is not None:
            out |= dict(zip(store.meta["factor_names"], factors[rows].T))
        return out

    @torch.no_grad()
    def over(
        self, fn: Callable[[Tensor, Tensor | None], Any], ids: Tensor, y: Tensor | None
    ) -> Tensor | list[Tensor]:
        """`fn(x, y)` over batches in the view, put together on the host.

        What it draws from torch's global generator is a function of the seed and the batch.
        """
        model, parts = self.run.model, []
        for i, part in enumerate(ids.split(BATCH)):
            given = None if y is None else y[i * BATCH :][: len(part)].to(model.device)
            reseed(seeds(self.seed, 3, i), model.device)
            found = fn(model.view.encode(part.to(model.device)), given)
            parts.append([found] if isinstance(found, Tensor) else list(found))
        out = [torch.cat([p.float().cpu() for p in column]) for column in zip(*parts)]
        return out[0] if len(out) == 1 else out

    @property
    def has_code(self) -> bool:
        """Whether the model encodes examples to latents of its own."""
        return "latents" in self.run.model.provides

    @cached_property
    def code(self) -> Tensor:
        """Centres of the posteriors of the test examples, `(N, L)`."""
        model = self.run.model
        return self.over(lambda x, y: model.encode(x, y).flatten(1), self.ids, self.y)

    @cached_property
    def kl(self) -> Tensor | None:
        """KL of each latent to the prior in nats, `(L,)`; None where it has no such parts."""
        model = self.run.model
        if not model.latents.known:
            return None
        return kl_by_dimension(*self.over(model.posterior, self.ids, self.y))

    def order(self) -> list[int]:
        """The latents by what they say: their KL, else their variance."""
        by = self.code.var(0) if self.kl is None else self.kl
        return by.argsort(descending=True).tolist()
