"""Runs in processes that can be hurt: forked from one that is warm, so that one costs no import.

A child writes how many batches it has done to `<out>.at`, which outlives SIGKILL.
"""

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

FAMILIES = ("autoregressive", "diffusion", "vae", "gan")
BATCHES, SIZE = 16, 32
CELL = [
    "modality=tabular", "dataset=wine", "budget=smoke", f"budget.examples={BATCHES * SIZE}",
    "trainer.validations=2", "trainer.preview=0", "trainer.log_points=8", "trainer.workers=0",
]  # fmt: skip


def warm() -> None:
    """Train and judge each family in this process, so that children find everything loaded."""
    torch.set_num_threads(1)
    for family in FAMILIES:
        words = [f"model={family}", "study=warm", *CELL, "budget.examples=64"]
        run = command("train", *words)
        command("evaluate", f"run={run}", "extractors=[pca]")


def command(*words: str) -> str:
    """`aigc ...` in this process; gives what it prints last, of a rank that prints nothing that."""
    import contextlib
    import io

    from hydra.core.global_hydra import GlobalHydra

    from aigc import cli

    GlobalHydra.instance().clear()
    sys.argv = ["aigc", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main()
    return (out.getvalue().strip().splitlines() or [""])[-1]


class Server:
    """Forks children that run `aigc` commands, each hurt as it is told."""

    def __init__(self):
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["warm"])
        here = Path(__file__).parent
        before, path = os.environ.get("PYTHONPATH"), [str(here), str(here.parents[1])]
        os.environ["PYTHONPATH"] = os.pathsep.join([*path, *([before] if before else [])])
        try:
            self.context.Process(target=len, args=((),)).start()  # the server takes this path
        finally:
            os.environ.pop("PYTHONPATH")
            if before:
                os.environ["PYTHONPATH"] = before

    def start(
        self, words: list[str], out: Path, hurt: Callable | None = None, **env: str
    ) -> BaseProcess:
        """A child that runs `aigc words`; `hurt` is called in it first, `out` is what it
        prints."""
        Path(f"{out}.at").unlink(missing_ok=True)
        env = {k: v for k, v in os.environ.items() if k.startswith("AIGC_")} | env
        child = self.context.Process(target=_run, args=(words, out, hurt, env))
        child.start()
        return child

    def run(
        self, words: list[str], out: Path, hurt: Callable | None = None, **env: str
    ) -> tuple[int, str]:
        """Exit code and output of such a child."""
        child = self.start(words, out, hurt, **env)
        child.join(120)
        if child.is_alive():
            child.kill()
            raise AssertionError(f"{words} hangs: {out.read_text()}")
        return child.exitcode, out.read_text()


def done(out: Path) -> int | None:
    """Batches that a child had done when it ended; None if it had not begun."""
    try:
        return int.from_bytes(Path(f"{out}.at").read_bytes(), "little")
    except FileNotFoundError:
        return None


def _run(words: list[str], out: Path, hurt: Callable | None, env: dict[str, str]) -> None:
    os.environ.update(env)
    multiprocessing.set_start_method("fork", force=True)  # of data workers: warm, too
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    _count(out)
    if hurt:
        hurt()
    print(command(*words), flush=True)


def _count(out: Path) -> None:
    """Write the number of batches done, at the end of each."""
    from aigc.lab.callbacks import Seeds

    hook = Seeds.on_train_batch_end

    def end(self, trainer, module, outputs, batch, index) -> None:
        hook(self, trainer, module, outputs, batch, index)
        with open(f"{out}.at", "wb", buffering=0) as file:
            file.write((index + 1).to_bytes(8, "little"))

    Seeds.on_train_batch_end = end


def at(batch: int, act: Callable[[], None], rank: int = 0) -> None:
    """Call `act` in a child when `batch` begins, on one rank."""
    from aigc.lab.callbacks import Seeds

    hook = Seeds.on_train_batch_start

    def start(self, trainer, module, data, index) -> None:
        hook(self, trainer, module, data, index)
        if index == batch and trainer.global_rank == rank:
            act()

    Seeds.on_train_batch_start = start


def send(number: int) -> None:
    """A signal to this process."""
    os.kill(os.getpid(), number)


def fill_disk(size: int = 20_000) -> None:
    """No file of this process grows beyond `size` from now on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def break_logger() -> None:
    """TensorBoard's logger raises from now on."""
    from lightning.pytorch.loggers import TensorBoardLogger

    def raises(self, *args, **kwargs) -> None:
        raise OSError(errno.EHOSTUNREACH, "no route to host")

    TensorBoardLogger.log_metrics = raises
