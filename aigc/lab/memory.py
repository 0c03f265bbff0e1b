"""A batch that does not fit is taken in parts, and the step is that of the whole batch."""

import sys
from typing import Any

import lightning as L
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Batch
from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import reseed
from aigc.lab.guards import out_of_memory
from aigc.runs import RunDir


class Parts(L.Callback):
    """Takes each batch in `parts` and accumulates their gradients. With `halve`, where memory runs
    out in a step, does it again in twice as many, which stay for the rest of the run.

    Their losses count by `model.mean_over`, so the gradient is that of the whole batch wherever its
    loss is a mean. What a part draws at random is not what the whole batch would have drawn.
    """

    def __init__(self, run: RunDir, model: GenerativeModule, parts: int = 1, halve: bool = True):
        self.run, self.parts, self.halve = run, parts, halve
        self.asked = "trainer.oom=halve" if halve else f"trainer.parts={parts}"
        self._rest: list[Batch] = []
        self._weights: list[Tensor | float] = []
        if not model.automatic_optimization or not model.mean_loss:
            raise BadInput(
                f"{self.asked}: the loss of this {model.name} is no mean over examples, "
                "and so not the same in parts: a smaller budget.batch_size"
            )

    def state_dict(self) -> dict[str, Any]:
        """In how many parts a batch is taken."""
        return {"parts": self.parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take that over."""
        self.parts = state["parts"]

    def on_fit_start(self, trainer: L.Trainer, module: GenerativeModule) -> None:
        if trainer.world_size > 1 or trainer.precision == "16-mixed":
            raise BadInput(f"{self.asked}: one device, and precision 32-true or bf16-mixed")
        self.trainer, self.module = trainer, module
        self._step, self._backward = module.training_step, module.backward
        module.training_step, module.backward = self.training_step, self.backward

    def teardown(self, trainer: L.Trainer, module: GenerativeModule, stage: str) -> None:
        """Leave the module as it was."""
        for name in ("training_step", "backward"):
            module.__dict__.pop(name, None)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of the first part."""
        try:
            first, *self._rest = split(batch, self.parts)
            terms = [
                self.module.mean_over(self.module.view.encode(b.ids)) for b in (first, *self._rest)
            ]
            self._weights = [t / sum(terms) for t in terms]
            self._batch, self._index = batch, index
            loss = self._step(first, index)
        except Exception as error:
            self._halve(error, len(batch.ids))
            return self.training_step(batch, index)
        self._logs = _scaled(self.module.logs, self._weights[0])
        return self._weights[0] * loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Through the loss of the first part, then part after part."""
        try:
            self._backward(loss, *args, **kwargs)
            for part, weight in zip(self._rest, self._weights[1:]):
                with self.trainer.precision_plugin.train_step_context():
                    more = weight * self._step(part, self._index)
                for name, value in _scaled(self.module.logs, weight).items():
                    self._logs[name] = self._logs[name] + value
                self._backward(more, *args, **kwargs)
            self.module.logs = self._logs
        except Exception as error:
            del loss
            self._halve(error, len(self._batch.ids))
            with self.trainer.precision_plugin.train_step_context():
                again = self.training_step(self._batch, self._index)
            self.backward(again, *args, **kwargs)

    def _halve(self, error: Exception, size: int) -> None:
        """Make room for another try, from the same random numbers; raises what cannot be helped."""
        if not self.halve or not out_of_memory(error) or 2 * self.parts > size:
            raise error
        self.parts, self._rest = 2 * self.parts, []
        self.module.zero_grad(set_to_none=True)
        device = self.module.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        reseed(torch.initial_seed(), device)
        batch = self.trainer.fit_loop.epoch_loop.batch_idx
        self.run.event("halved", batch=batch, parts=self.parts)
        print(f"out of memory: batches in {self.parts} parts from here on", file=sys.stderr)


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch in parts of about one size, none of them empty."""
    parts = min(parts, len(batch.ids))
    ids = batch.ids.tensor_split(parts)
    y = [None] * parts if batch.y is None else batch.y.tensor_split(parts)
    return [Batch(*part) for part in zip(ids, y)]


def _scaled(logs: dict[str, Tensor], weight: Tensor | float) -> dict[str, Tensor]:
    return {name: weight * value for name, value in logs.items()}
