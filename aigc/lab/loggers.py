"""The loggers beside the run's own log: they are guests, and never end a run."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from aigc.lab import build
from aigc.runs import RunDir

PATIENCE = 3  # failures in a row before a logger is left alone
SLOW = 10.0  # seconds after which one failure is enough


class Guest(Logger):
    """A logger whose errors are counted instead of raised; one that keeps failing is left alone."""

    def __init__(self, inner: Logger):
        super().__init__()
        self.inner = inner
        self.lost, self.reason, self._failures = 0, "", 0

    @property
    def name(self) -> str | None:
        """Of the logger inside."""
        return self._try(lambda: self.inner.name)

    @property
    def version(self) -> int | str | None:
        """Of the logger inside."""
        return self._try(lambda: self.inner.version)

    @property
    def experiment(self) -> Any:
        """Of the logger inside; None where it cannot be reached."""
        return self._try(lambda: self.inner.experiment)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Pass rows on; those that do not arrive are counted."""
        self._try(lambda: self.inner.log_metrics(metrics, step), len(metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Pass settings on."""
        self._try(lambda: self.inner.log_hyperparams(params, *args, **kwargs))

    def log_media(self, files: list[Path]) -> None:
        """Show rendered samples, where the logger can."""
        self._try(lambda: show(self.inner, files), len(files))

    def save(self) -> None:
        """Write what is pending."""
        self._try(self.inner.save)

    def finalize(self, status: str) -> None:
        """Write what is pending; samples may follow."""
        self._try(lambda: self.inner.finalize(status))

    def close(self) -> None:
        """End it: wandb would take the next run of this process for this one."""
        if isinstance(self.inner, WandbLogger):
            self._try(_finish_wandb)

    def _try(self, call: Callable[[], Any], rows: int = 0) -> Any:
        if self._failures >= PATIENCE:
            self.lost += rows
            return None
        began = time.monotonic()
        try:
            result = call()
        except Exception as error:
            self.lost += rows
            slow = time.monotonic() - began > SLOW
            self._failures += PATIENCE if slow else 1
            if not self.reason:
                self.reason = f"{type(error).__name__}: {error}".splitlines()[0]
                print(f"{type(self.inner).__name__}: {self.reason}", file=sys.stderr)
            return None
        if rows:
            self._failures = 0
        return result


def loggers(config: dict[str, Any], run: RunDir) -> list[Guest] | bool:
    """The loggers chosen beside the run's own log."""
    chosen = [node for node in config["logger"].values() if node]
    made = [build.make({**node, "save_dir": str(run.path)}, "logger") for node in chosen]
    return [Guest(logger) for logger in made] or False


def _finish_wandb() -> None:
    import wandb

    if wandb.run is not None:
        wandb.finish()


def lost_rows(guests: list[Any]) -> dict[str, Any]:
    """What did not arrive, by logger, for `status.json`; empty where all did."""
    return {
        type(g.inner).__name__: {"rows": g.lost, "reason": g.reason}
        for g in guests
        if isinstance(g, Guest) and g.reason
    }


def show(logger: Logger, files: list[Path]) -> None:
    """Rendered samples to a logger that can show them."""
    pictures = [str(f) for f in files if f.suffix == ".png"]
    sounds = [str(f) for f in files if f.suffix == ".wav"]
    texts = [f.read_text() for f in files if f.suffix in (".txt", ".csv")]
    if isinstance(logger, WandbLogger):
        if pictures:
            logger.log_image("samples", pictures)
        if sounds:
            logger.log_audio("sounds", sounds)
        if texts:
            logger.log_text("text", columns=["samples"], data=[[t] for t in texts])
    elif isinstance(logger, TensorBoardLogger):
        import numpy as np
        from PIL import Image

        for picture in pictures:
            pixels = np.atleast_3d(np.asarray(Image.open(picture)))
            logger.experiment.add_image("samples", pixels, dataformats="HWC")
        for text in texts:
            logger.experiment.add_text("samples", f"```\n{text}\n```")
