"""What keeps a run from going on in a state that is worth nothing, and says so."""

import math
from statistics import fmean
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from aigc.lab.callbacks import Log
from aigc.runs import RunDir

ADVICE = (
    "out of memory: a smaller budget.batch_size, a narrower network, trainer.precision=bf16-mixed, "
    "or trainer.where=workers"
)


class OutOfMemory(MemoryError):
    """A step did not fit; what was saved is good, and the message says what to change."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is memory that ran out, on a device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


class Guard(L.Callback):
    """Clips gradients, and skips a step whose gradients are not finite; `limit` of them in a row
    end the run with FloatingPointError.

    A fused optimizer skips on the device by itself, and the count is read only every `every`
    steps (by default 50); others wait for the norm, and so do all on a CPU, where it is at hand.
    A module finds the norm before clipping as `optimizer.grad_norm`.
    """

    def __init__(
        self, run: RunDir, clip: float | None = None, limit: int = 10, every: int | None = None
    ):
        self.run, self.clip, self.limit, self.every = run, clip, limit, every
        self.skipped = 0
        self._row: dict[int, int] = {}  # steps skipped in a row, by optimizer
        self._flags: dict[int, list[Tensor]] = {}

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"skipped": self.skipped, "row": self._row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the counts over."""
        self.skipped, self._row = state["skipped"], state["row"]

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [g for p in parameters if (g := p.grad) is not None]
        if not gradients:
            return
        norm = total = optimizer.grad_norm = total_norm(gradients)
        if sharded := hasattr(norm, "full_tensor"):  # each rank has the norm of its part
            total = norm.full_tensor()
        if at_hand := type(norm) is Tensor and norm.device.type == "cpu":
            total = float(norm)
        which = trainer.optimizers.index(optimizer) if len(trainer.optimizers) > 1 else 0
        every = self.every or (50 if norm.device.type != "cpu" else 0)
        fused = all(group.get("fused") for group in optimizer.param_groups)
        if every and fused and not sharded:
            optimizer.found_inf = (~torch.isfinite(norm)).float()
            flags = self._flags.setdefault(which, [])
            flags.append(optimizer.found_inf)
            if len(flags) >= every:
                self._read(trainer, which)
        elif not math.isfinite(total):
            for p in parameters:
                p.grad = None
            del optimizer.grad_norm
            self._count(trainer, which, True)
        else:
            self._count(trainer, which, False)
        if self.clip and not (at_hand and self.clip / (total + 1e-6) >= 1):
            clip_grads_with_norm_(parameters, self.clip, norm)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        for which in list(self._flags):
            self._read(trainer, which)

    def _read(self, trainer: L.Trainer, which: int) -> None:
        for flag in torch.stack(self._flags.pop(which, [])).tolist():
            self._count(trainer, which, bool(flag))

    def _count(self, trainer: L.Trainer, which: int, bad: bool) -> None:
        row = self._row[which] = self._row.get(which, 0) + 1 if bad else 0
        self.skipped += bad
        if bad and trainer.is_global_zero:
            batch = trainer.fit_loop.epoch_loop.batch_idx
            self.run.event("skipped", batch=batch, optimizer=which, in_a_row=row)
        if row >= self.limit:
            raise FloatingPointError(
                f"{row} steps in a row had gradients that are not finite: the run has diverged, "
                "lower the rate"
            )


def total_norm(gradients: list[Tensor]) -> Tensor:
    """`get_total_norm`, without its grouping where all are plain and on a CPU."""
    if not all(type(g) is Tensor and g.is_cpu and g.dtype == torch.float32 for g in gradients):
        return get_total_norm(gradients)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


class Spikes(L.Callback):
    """Notes training losses that stand out from the `window` logged before: more than `limit`
    standard deviations above their mean."""

    def __init__(self, run: RunDir, log: Log, window: int = 32, limit: float = 8.0):
        self.run, self.log_, self.window, self.limit = run, log, window, limit
        self._seen: dict[str, list[float]] = {}
        self._at = 0

    def state_dict(self) -> dict[str, Any]:
        """The window."""
        return {"seen": self._seen, "at": self._at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the window over."""
        self._seen, self._at = state["seen"], state["at"]

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if self.log_.examples == self._at:
            return
        self._at = self.log_.examples
        for name, value in self.log_.latest.items():
            if name.startswith("train/"):
                self._judge(trainer, name, value)

    def _judge(self, trainer: L.Trainer, name: str, value: float) -> None:
        before = self._seen.setdefault(name, [])
        if len(before) == self.window:
            mean = fmean(before)
            spread = math.sqrt(fmean((x - mean) ** 2 for x in before))
            z = (value - mean) / spread if spread else 0.0
            if not z <= self.limit and trainer.is_global_zero:
                self.run.event("spike", examples=self._at, name=name, value=value, z=round(z, 1))
        if math.isfinite(value):
            self._seen[name] = [*before, value][-self.window :]
