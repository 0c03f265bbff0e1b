"""Lightning's loop over batches, without what costs time at every step and does nothing here.

Where a run is what most are (one process, no gradient scaler, no accumulation), a step calls only
the hooks that somebody has written, in Lightning's order, and keeps Lightning's counters, so that
callbacks and states to go on from are the same. Every other run takes Lightning's own way.
"""

import os
from collections import OrderedDict
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loops.fetchers import _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
ASIS = (  # steps that a module could do otherwise
    "optimizer_step",
    "optimizer_zero_grad",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
    "transfer_batch_to_device",
)


class Loop(_TrainingEpochLoop):
    """One batch after the other."""

    def on_run_start(self, data_fetcher: Any) -> None:
        """See who has written which hook, and whether this run can take the short way."""
        super().on_run_start(data_fetcher)
        module = self.trainer.lightning_module
        both = [(c, L.Callback) for c in self.trainer.callbacks] + [(module, L.LightningModule)]
        self._hooks = {
            name: [getattr(one, name) for one, base in both if _written(one, base, name)]
            for name in HOOKS
        }
        self._short = self._plain(data_fetcher)

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch."""
        if self.restarting or not self._short:
            return super().advance(data_fetcher)
        if self.val_loop.restarting:
            self.val_loop.restarting = False
        trainer, module = self.trainer, self.trainer.lightning_module
        batch, _, _ = next(data_fetcher)
        index, progress, logs = self.batch_idx + 1, self.batch_progress, trainer._logger_connector
        progress.is_last_batch = data_fetcher.done
        batch = trainer.datamodule.transfer_batch_to_device(batch, module.device, 0)
        progress.increment_ready()
        logs.on_batch_start(batch)
        self._call("on_train_batch_start", batch, index)
        progress.increment_started()
        if module.automatic_optimization:
            outputs = {"loss": self._optimize(batch, index)}
        else:
            outputs = self.manual_optimization.run(OrderedDict(batch=batch, batch_idx=index))
        progress.increment_processed()
        if module.automatic_optimization:
            for config in trainer.lr_scheduler_configs:
                self.scheduler_progress.increment_ready()
                config.scheduler.step()
                self.scheduler_progress.increment_completed()
        self._call("on_train_batch_end", outputs, batch, index)
        if trainer._results:  # somebody calls `self.log` in training
            logs.on_batch_end()
        progress.increment_completed()
        if trainer._results:
            logs.update_train_step_metrics()

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate where that is due; what else Lightning does here is nothing on the short way."""
        trainer = self.trainer
        if (
            not self._short
            or self._skip_next_val
            or trainer.should_stop
            or trainer.received_sigterm
            or self._should_check_val_fx(data_fetcher)
        ):
            return super().on_advance_end(data_fetcher)
        self._batches_that_stepped += 1

    def _optimize(self, batch: Any, index: int) -> Any:
        """Forward, backward, step; the detached loss."""
        trainer, module = self.trainer, self.trainer.lightning_module
        optimizer, progress = trainer.optimizers[0], self.automatic_optimization.optim_progress
        progress.optimizer.step.increment_ready()
        facts = vars(module)  # a module is slow to set what may be a parameter
        facts["_current_fx_name"] = "training_step"  # where `self.log` is called
        with trainer.precision_plugin.train_step_context():
            loss = module.training_step(batch, index)
        loss = loss["loss"] if isinstance(loss, dict) else loss
        facts["_current_fx_name"] = None
        progress.optimizer.zero_grad.increment_ready()
        self._call("on_before_zero_grad", optimizer)
        progress.optimizer.zero_grad.increment_started()
        optimizer.zero_grad()
        progress.optimizer.zero_grad.increment_completed()
        self._call("on_before_backward", loss)
        module.backward(loss)
        self._call("on_after_backward")
        self._call("on_before_optimizer_step", optimizer)
        optimizer.step()
        progress.optimizer.step.increment_completed()
        return loss.detach()

    def _call(self, name: str, *args: Any) -> None:
        trainer, module = self.trainer, self.trainer.lightning_module
        for hook in self._hooks[name]:
            if getattr(hook, "__self__", None) is not module:
                hook(trainer, module, *args)
            elif hook(*args) == -1:  # of on_train_batch_start: enough
                raise StopIteration

    def _plain(self, fetcher: Any) -> bool:
        """Whether Lightning's way would do nothing else."""
        trainer, module = self.trainer, self.trainer.lightning_module
        return (
            isinstance(trainer.strategy, SingleDeviceStrategy)
            and trainer.precision in ("32-true", "bf16-mixed")
            and trainer.accumulate_grad_batches == 1
            and not trainer.gradient_clip_val
            and type(trainer.profiler) is PassThroughProfiler
            and not isinstance(fetcher, _DataLoaderIterDataFetcher)
            and trainer.datamodule is not None
            and not any(_written(module, L.LightningModule, name) for name in ASIS)
            and all(
                (c.interval, c.frequency, c.reduce_on_plateau) == ("step", 1, False)
                for c in trainer.lr_scheduler_configs
                if module.automatic_optimization  # else the module steps them
            )
        )


def _written(one: Any, base: type, name: str) -> bool:
    """Whether a hook does anything, as far as can be seen."""
    return name in vars(one) or getattr(type(one), name) is not getattr(base, name)


def shorten(trainer: L.Trainer) -> L.Trainer:
    """Give a trainer this loop."""
    if not torch.cuda.is_available():
        # Lightning's way to look for GPUs opens a library; optimizers look at every step.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    old = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = Loop(trainer, old.min_steps, old.max_steps)
    return trainer
