"""When a run's state is saved: exact to the batch, for whatever way it ends.

`last-<examples>.ckpt` holds all that training goes on from, and the two newest are kept, so that
one bad file is survivable; `best-<examples>.ckpt` holds the weights of the best validation.
"""

import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L

from aigc.core.errors import BadInput
from aigc.lab.checkpoint import Damaged, remove, saved_states, sound
from aigc.lab.signals import Signals
from aigc.runs import RunDir

KEPT = 2  # files to go on from
WEIGHTS = {"state_dict", "pytorch-lightning_version"}  # what a best file keeps
NEVER = float("inf")


class Checkpoints(L.Callback):
    """Saves the state at the start of a batch, where a run is nothing but (seed, batches done), and
    the weights of each best validation.

    `every` is a number of examples, or minutes as `5m`; `best` is what the best validation is the
    smallest of, or None. `facts` are what a run to go on from must
    have in common with this one. A state is also saved when one of `signals` or an error ends the
    run before its batch has changed a weight, or in a validation, which is then done again; without
    `states` none is, for an engine whose states nothing else reads.
    """

    def __init__(
        self,
        run: RunDir,
        batch_size: int,
        every: str | int,
        best: str | None,
        facts: dict,
        signals: Signals | None = None,
        states: bool = True,
    ):
        self.folder, self.run, self.batch_size = run / "checkpoints", run, batch_size
        self.seconds, self.batches = _interval(every, batch_size)
        self.monitor, self.facts, self.signals = best, facts, signals or Signals()
        self.states = states
        self.best, self.best_at = NEVER, 0
        self._of_states: list[int] = []  # the best validations that the kept states know
        self._index, self._at = 0, 0  # the batch now, and the one that the newest state begins
        self._training = self._settled = self._validating = self._stripping = False

    @property
    def best_file(self) -> Path | None:
        """The weights of the best validation so far."""
        return self._best(self.best_at) if self.best_at else None

    def state_dict(self) -> dict[str, Any]:
        """The best validation, and what this run is."""
        return {"best": self.best, "best_at": self.best_at, "facts": self.facts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises BadInput for the state of another run, Damaged where its best weights are."""
        for name, value in self.facts.items():
            if (was := state["facts"].get(name)) != value:
                raise BadInput(
                    f"the unfinished run has {name} {was}, this one {value}: "
                    "train with the same, or afresh by resume=never"
                )
        self.best, self.best_at = state["best"], state["best_at"]
        self._of_states = [self.best_at]
        if self.best_file and not sound(self.best_file):
            raise Damaged(f"{self.best_file} is damaged or missing: train afresh by resume=never")

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self._clock, self._training = time.monotonic(), True
        self.signals.listen()  # Lightning's handler talks to the other ranks, and may deadlock
        self._at = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        self._index = self._at - 1

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, index: int) -> None:
        self._settled, self._index = True, index
        due, told = self._decide(trainer, index)
        if told:
            self.signals.told = told
            raise told
        if due and index > self._at:
            self._save(trainer, index)

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        self._settled = False

    def on_validation_start(self, trainer: L.Trainer, module: Any) -> None:
        self._validating = True

    def on_validation_batch_start(self, trainer, module, batch, index, loader=0) -> None:
        if self.signals.told and self._training and trainer.world_size == 1:
            raise self.signals.told

    def on_validation_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        self._validating = False

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        score = float(trainer.callback_metrics.get(self.monitor, NEVER))
        if not score < self.best:
            return
        self.best, self.best_at = score, (self._index + 1) * self.batch_size
        self._stripping = True
        trainer.save_checkpoint(self.best_file)
        self._stripping = False
        if trainer.is_global_zero:
            self._keep_bests()

    def on_save_checkpoint(self, trainer: L.Trainer, module: Any, checkpoint: dict) -> None:
        if self._stripping:
            for name in set(checkpoint) - WEIGHTS:
                del checkpoint[name]
            return
        _settle(checkpoint["loops"]["fit_loop"], self._validating)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        self.signals.forget()

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        if not self._training:
            return
        self.signals.forget()
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        told = type(exception) is self.signals.told  # between batches, on all ranks
        safe = self._validating and not isinstance(exception, KeyboardInterrupt)
        alone = trainer.world_size == 1  # other ranks may not be here
        settled = told or (alone and (self._settled or safe))
        if settled and done > self._at:
            with suppress(Exception):
                self._save(trainer, done)
        if trainer.is_global_zero:
            lost = (done - self._at) * self.batch_size
            saved = self._at * self.batch_size
            self.run.event("stopped", examples=done * self.batch_size, saved=saved, lost=lost)
            name = type(exception).__name__
            print(f"{name}: kept {saved:,} examples, lost {lost:,}", file=sys.stderr)

    def clear(self) -> None:
        """Remove the states of a run that is done: its budget is part of its name, and nothing
        goes on from them."""
        _keep(self.folder, "*.ckpt", set())

    def _decide(self, trainer: L.Trainer, index: int) -> tuple[bool, type[BaseException] | None]:
        """Whether to save now, and by what to stop; the same on all ranks."""
        late = bool(self.seconds) and time.monotonic() - self._clock >= self.seconds
        asked = late, self.signals.told
        if trainer.world_size > 1:  # rank zero decides, and asking it is not free
            asked = trainer.strategy.broadcast(asked) if index % 8 == 0 else (False, None)
        return asked[0] or bool(self.batches and index % self.batches == 0), asked[1]

    def _save(self, trainer: L.Trainer, batches: int) -> None:
        if not self.states:
            return
        trainer.save_checkpoint(self.folder / f"last-{batches * self.batch_size:012d}.ckpt")
        self._clock, self._at = time.monotonic(), batches
        self._of_states = [*self._of_states, self.best_at][-KEPT:]
        if trainer.is_global_zero:
            _keep(self.folder, "last-*.ckpt", set(saved_states(self.folder)[:KEPT]))
            self._keep_bests()

    def _keep_bests(self) -> None:
        """Of the best weights those that a kept state goes on from, and the newest."""
        known = {self._best(at) for at in self._of_states}
        _keep(self.folder, "best-*.ckpt", known | {self.best_file})

    def _best(self, examples: int) -> Path:
        return self.folder / f"best-{examples:012d}.ckpt"


def _settle(loops: dict[str, Any], validating: bool) -> None:
    """Write Lightning's counters as they are when a batch begins, so that it goes on from there
    whenever the state was saved; or, `validating`, as before the first batch of a validation."""
    progress, validation = (
        loops[f"epoch_loop.{name}"] for name in ("batch_progress", "val_loop.batch_progress")
    )
    done = progress["current"]["completed"]
    for kind in ("total", "current"):
        loops["epoch_progress"][kind].update(processed=0, completed=0)  # the one epoch goes on
        progress[kind].update(ready=done + 1, started=done, processed=done, completed=done)
        validation[kind].update(ready=0, started=0, processed=0, completed=0)
    if validating:
        validation["total"].update(ready=1, started=1)
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] = done - 1 - validating


def _interval(every: str | int, batch_size: int) -> tuple[float, int]:
    """Seconds or batches between two states; the other one is 0."""
    if minutes := re.fullmatch(r"(\d+(?:\.\d+)?)m", str(every)):
        return 60 * float(minutes[1]), 0
    if re.fullmatch(r"[1-9]\d*", str(every)):
        return 0.0, max(1, int(every) // batch_size)
    raise BadInput(f"trainer.save_every={every}: minutes as 5m, or a number of examples")


def _keep(folder: Path, pattern: str, kept: set[Path | None]) -> None:
    for file in set(folder.glob(pattern)) - kept:
        remove(file)
