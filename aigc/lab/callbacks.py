"""What happens around a training step: seeds, the average, the log, the progress line."""

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch import distributed as dist

from aigc.core.rng import seeds
from aigc.core.share import Share


class Seeds(L.Callback):
    """Every batch starts from a seed of (run, batch): nothing before it can change what it draws.

    A rank draws its share of what the whole batch would draw in one process; where that cannot be
    (`shared=False`: compiled networks), ranks have seeds of their own.
    """

    def __init__(self, seed: int, shared: bool = True):
        self.seed, self.shared, self.share = seed, shared, None

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, index: int) -> None:
        rows = len(batch.ids)
        self._begin(trainer, module, rows, rows * trainer.world_size, self.seed, 0, index)

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self._end()

    def on_validation_batch_start(self, trainer, module, batch, index, loader=0) -> None:
        rows = total = len(batch.ids)
        if trainer.world_size > 1:
            total = int(
                trainer.strategy.reduce(torch.tensor(rows, device=module.device), reduce_op="sum")
            )
        self._begin(trainer, module, rows, total, 0, 1, index)

    def on_validation_batch_end(self, trainer, module, outputs, batch, index, loader=0) -> None:
        self._end()

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        self._end()

    def _begin(self, trainer: Any, module: Any, rows: int, total: int, *path: int) -> None:
        rank, world = trainer.global_rank, trainer.world_size
        together = world > 1 and self.shared
        reseed(seeds(*path, 0 if together else rank), module.device)
        if together:
            self.share = Share(rank, world, rows, total).__enter__()

    def _end(self) -> None:
        if self.share:
            self.share.__exit__(None, None, None)
        self.share = None


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generators in use; `torch.manual_seed` visits every backend and costs a
    millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


class EMA(WeightAveraging):
    """Lightning's weight averaging with a decay that rises to `decay`, so that short runs forget
    their start: `min(decay, (1 + n) / (10 + n))` after `n` updates."""

    def __init__(self, decay: float):
        self.decay, self._swapped = decay, False
        self._tensors = self._counter = None
        super().__init__(use_buffers=False, multi_avg_fn=self._average)

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        """Collect the tensors once: what walks through the modules costs more than the average."""
        average = self._average_model
        pairs = ((average.module.parameters(), module.parameters()),
                 (average.module.buffers(), module.buffers()))  # fmt: skip
        self._tensors = [[[t.detach() for t in side] for side in pair] for pair in pairs]
        self._counter, self._count = average.n_averaged, int(average.n_averaged)

    @torch.no_grad()
    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        """What `AveragedModel.update_parameters` does."""
        if (step := trainer.global_step) <= self._latest_update_step:
            return
        self._latest_update_step = step
        (averaged, current), (kept, buffers) = self._tensors
        if self._count:
            torch._foreach_lerp_(averaged, current, self._share(self._count))
        else:
            torch._foreach_copy_(averaged, current)
        if kept:
            torch._foreach_copy_(kept, buffers)
        self._count += 1
        self._counter.add_(1)

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        if self._swapped:  # a validation was cut short
            self._swap_models(module)

    def _swap_models(self, module: Any) -> None:
        super()._swap_models(module)
        self._swapped = not self._swapped

    @torch.no_grad()
    def _average(self, averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        torch._foreach_lerp_(averaged, current, self._share(int(count)))

    def _share(self, n: int) -> float:
        return 1 - min(self.decay, (1 + n) / (10 + n))


class Log(L.Callback):
    """Means of what the family logs, by examples seen, to `log.csv` and to every logger.

    Columns are `examples, seconds, name, value`; seconds leave validation out. Values are summed
    on the device and read `points` times in a run, so a step never waits for one. A run that goes
    on continues the file at its checkpoint. Rows that a full disk refuses are written later.
    """

    def __init__(self, path: Path, batch_size: int, batches: int, points: int):
        self.path, self.batch_size, self.batches = path, batch_size, batches
        self.every = max(1, batches // points)
        self.seconds, self.examples, self.latest = 0.0, 0, {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._clock = time.perf_counter()
        self._size, self.unwritten = 0, "examples,seconds,name,value\n"

    @property
    def now(self) -> float:
        """Seconds of training so far."""
        return self.seconds + time.perf_counter() - self._clock

    def state_dict(self) -> dict[str, Any]:
        """Where the file ends, and what is not in it yet."""
        return {
            "seconds": self.now,
            "examples": self.examples,
            "latest": self.latest,
            "sums": _of_all_ranks(self._sums),
            "counts": self._counts,
            "size": self._size,
            "unwritten": self.unwritten,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the rows that the checkpoint knows."""
        self.seconds, self.examples = state["seconds"], state["examples"]
        self.latest, self._counts = state["latest"], state.get("counts", {})
        rank = dist.get_rank() if dist.is_initialized() else 0
        self._sums = dict(enumerate(state["sums"])).get(rank, {})
        self._size, self.unwritten = state["size"], state["unwritten"]

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self._sums = {k: v.to(module.device) for k, v in self._sums.items()}
        self._clock = time.perf_counter()
        if trainer.is_global_zero:
            self._cut()
            self._append("")

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        for name, value in module.logs.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        last = index + 1 == self.batches or trainer.should_stop
        if (index + 1) % self.every == 0 or last:
            self.examples = (index + 1) * self.batch_size
            means = {f"train/{k}": float(v) / self._counts[k] for k, v in self._whole(trainer)}
            self._sums, self._counts = {}, {}
            self._write(trainer, means)

    def on_validation_start(self, trainer: L.Trainer, module: Any) -> None:
        self.seconds += time.perf_counter() - self._clock

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        self._clock = time.perf_counter()
        self._write(trainer, values)

    def _whole(self, trainer: L.Trainer) -> Iterable[tuple[str, Tensor]]:
        """The sums, as means over the ranks."""
        if trainer.world_size == 1 or not self._sums:
            return self._sums.items()
        together = torch.stack([v.detach().float().reshape(()) for v in self._sums.values()])
        return zip(self._sums, trainer.strategy.reduce(together, reduce_op="mean"))

    def _write(self, trainer: L.Trainer, values: dict[str, float]) -> None:
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        self.latest |= values
        if not trainer.is_global_zero:
            return
        at = f"{self.examples},{self.seconds:.3f}"
        self._append("".join(f"{at},{k},{v:.6g}\n" for k, v in values.items()))
        for logger in trainer.loggers:
            logger.log_metrics(values, step=self.examples)

    def _append(self, rows: str) -> None:
        self.unwritten += rows
        try:
            with self.path.open("a", newline="") as file:
                file.write(self.unwritten)
                file.flush()
                self._size, self.unwritten = self._size + len(self.unwritten.encode()), ""
        except OSError:
            with suppress(OSError):
                self._cut()

    def _cut(self) -> None:
        """End the file where the log knows it to end: no half of a row, none beyond a
        checkpoint."""
        with self.path.open("a") as file:
            self._size = min(self._size, file.tell())
            file.truncate(self._size)


def _of_all_ranks(sums: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The sums of each rank: one rank writes the file, and each goes on with its own."""
    if not dist.is_initialized():
        return [sums]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, {name: value.detach().cpu() for name, value in sums.items()})
    return gathered


class Progress(L.Callback):
    """A live line with examples, speed, time left and losses; ten plain lines when not a
    terminal."""

    def __init__(self, log: Log, title: str, batch_size: int, batches: int):
        self.log_, self.title, self.batch_size, self.batches = log, title, batch_size, batches
        self._bar, self._due, self._from = None, 0.0, None

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self._start = time.perf_counter()
        self._on = trainer.is_global_zero
        if self._on and sys.stderr.isatty():
            self._bar = _bar(self.title, self.batches * self.batch_size)

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        self._from = index if self._from is None else self._from
        if not self._on or (time.perf_counter() < self._due and index + 1 < self.batches):
            return
        done, now = (index + 1) * self.batch_size, time.perf_counter()
        if self._bar:
            self._due = now + 0.2
            self._bar.update(self._bar.task_ids[0], completed=done, losses=self._losses())
        elif (index + 1) * 10 // self.batches > index * 10 // self.batches:
            speed = (done - self._from * self.batch_size) / (now - self._start)
            left = (self.batches - index - 1) * self.batch_size / speed
            total = self.batches * self.batch_size
            line = f"{self.title}  {done:,}/{total:,}  {speed:,.0f} examples/s  {left:.0f} s left"
            print(f"{line}  {self._losses()}", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        if self._bar:
            self._bar.stop()

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        if self._bar:
            self._bar.stop()

    def _losses(self) -> str:
        names = [k for k in self.log_.latest if k.endswith(("/loss", "/critic", "/generator"))]
        return "  ".join(f"{name} {self.log_.latest[name]:.3f}" for name in sorted(names))


def _bar(title: str, total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed or 0:,.0f}/s", style="cyan")

    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} examples"),
        Speed(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[losses]}"),
        console=Console(stderr=True),
    )
    bar.add_task(title, total=total, losses="")
    bar.start()
    return bar
