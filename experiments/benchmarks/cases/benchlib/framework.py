"""A whole run's training loop, with all that a run has on, and the same steps in a bare loop."""

import tempfile
import time
from functools import lru_cache

import lightning as L
import numpy as np
import torch

from aigc.data.datamodule import DataModule
from aigc.data.datasets import DATASETS, Source, dataset


@lru_cache
def pictures():
    """Register pictures of noise, so that no files are needed."""

    @dataset("image", "law", licence="generated")
    def bench_noise(size: int = 28, channels: int = 1, n: int = 4096) -> Source:
        """Uniform noise."""
        raw = np.random.default_rng(0).integers(0, 256, (n, channels, size, size), np.uint8)
        return Source({"train": raw})

    return DATASETS["bench_noise"]


def configured(words: list[str], steps: int, **noise: int):
    """The configuration, data and a fresh model; on noise of a size where that is given."""
    from aigc.lab import build
    from aigc.lab.conf import compose

    batch = int(next(w for w in words if "batch_size" in w).split("=")[1])
    more = ["trainer.preview=0", "trainer.validations=0", f"budget.examples={steps * batch}"]
    more += [f"trainer.log_points={steps // 6}"]  # as often as a run of 1,200 steps writes its 200
    config = compose("train", [*words, *more])
    if noise:
        config["dataset"] = {"name": pictures().name, "imbalance": None, "limit": None, **noise}
    store = build.store(config)
    torch.manual_seed(0)
    return config, store, build.model(config, store.space)


def loader(config, store) -> DataModule:
    """The batches that both loops take."""
    return DataModule(store, config["budget"]["batch_size"], config["budget"]["examples"])


def bare(words: list[str], steps: int, **noise: int):
    """Seconds of `steps` steps: forward, backward, optimizer; nothing else."""

    def run() -> float:
        config, store, model = configured(words, steps + WARM, **noise)
        step = (one if model.automatic_optimization else two)(model)
        for i, batch in enumerate(loader(config, store).train_dataloader()):
            if i == WARM:
                start = time.perf_counter()
            step(model.view.encode(batch.ids), batch.y)
        return time.perf_counter() - start

    return lambda: run


WARM = 20


def one(model):
    """A step of a model with one loss."""
    optimizer = model.configure_optimizers()["optimizer"]

    def step(x, y):
        loss = model.loss(x, y).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def two(model):
    """A step of a GAN."""
    from aigc.families.gan.module import frozen

    (generator, critic), _ = model.configure_optimizers()

    def step(x, y):
        loss = model.critic_loss(x, y).value
        critic.zero_grad()
        loss.backward()
        critic.step()
        with frozen(model.critic):
            loss = model.loss(x, y).value
            generator.zero_grad()
            loss.backward()
            generator.step()

    return step


class Clock(L.Callback):
    """Times the steps after the first `WARM`."""

    seconds = 0.0

    def __init__(self, steps: int):
        self.last = steps + WARM - 1

    def on_train_batch_start(self, trainer, module, batch, index) -> None:
        if index == WARM:
            self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if index == self.last:
            self.seconds = time.perf_counter() - self.start


def whole(words: list[str], steps: int, **noise: int):
    """Seconds of `steps` steps of a run with its log, average, progress and checkpoints on.

    Validation, which a bare loop has not, is off.
    """

    def run() -> float:
        from aigc.lab.training import make_trainer, quiet
        from aigc.runs import RunDir

        quiet()
        config, store, model = configured(words, steps + WARM, **noise)
        with tempfile.TemporaryDirectory() as folder:
            place = RunDir(f"{folder}/run")
            place.start(config, {})
            trainer = make_trainer(config, place, model, store)
            trainer.callbacks.append(clock := Clock(steps))
            trainer.fit(model, loader(config, store))
            for logger in trainer.loggers:
                logger.close()
        return clock.seconds

    return lambda: run
