"""Disks, memory, workers and servers that fail under a real run."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from forked import CELL, SIZE, Server, at, break_logger, fill_disk, send
from outcome import Attempts, damage, folder, litter, lost_rows, same

from aigc.runs import RunDir

WORDS = ["model=vae", *CELL, f"trainer.save_every={2 * SIZE}"]


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory) -> RunDir:
    """The run that nothing happens to."""
    return complete(server, [*WORDS, "study=fine"], tmp_path_factory.mktemp("fine") / "out")


def complete(server: Server, words: list[str], out: Path) -> RunDir:
    """Go on, undisturbed, to the end."""
    attempts = Attempts(server, words, out)
    attempts.until_done(lambda a: server.run(["train", *words], out)[0], limit=1)
    attempts.judge()
    return attempts.run


@pytest.mark.fault(3)
@pytest.mark.parametrize("size", [1_000, 20_000, 200_000])
def test_a_disk_that_is_full_while_it_saves(server, whole, tried, tmp_path: Path, size: int):
    words, out = [*WORDS, f"study=full{size}"], tmp_path / "out"
    code, text = server.run(["train", *words], out, partial(at, 5, partial(fill_disk, size)))
    run = folder(words)
    assert code == 2 and "disk full, not written" in text, text
    assert not list(damage(run)) and len(list((run / "checkpoints").glob("last-*"))) == 2
    complete(server, words, out)
    assert same(run, whole) and not litter(run)
    tried(tries=1, survived=1, lost_steps=2, lost_rows=lost_rows(run, whole))


@pytest.mark.fault(15)
def test_a_disk_that_is_full_under_the_log(server, whole, tried, tmp_path: Path):
    words, out = [*WORDS[:-1], "trainer.save_every=60m", "study=nolog"], tmp_path / "out"
    code, text = server.run(["train", *words], out, full_log)
    run = folder(words)
    assert code == 0 and run.is_done and run.status["unwritten_log_rows"] > 0, text
    assert "unwritten_log_rows" in text and run.status["weights"] == whole.status["weights"]
    lost = run.status["unwritten_log_rows"]
    tried(tries=1, survived=1, lost_steps=0, lost_rows=lost)


def full_log() -> None:
    """From the fifth batch on the log lies on a full disk."""

    def link() -> None:
        log = next(Path(os.environ["AIGC_RUNS"]).glob("nolog/*/log.csv"))
        log.unlink()
        log.symlink_to("/dev/full")

    at(5, link)


@pytest.mark.fault(14)
@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_a_logger_that_is_away(server, whole, tried, tmp_path: Path, logger: str):
    words, out = [*WORDS, f"study=away-{logger}"], tmp_path / "out"
    more, hurt, env = ["logger=tensorboard"], break_logger, {}
    if logger == "wandb":  # a server that refuses
        more, hurt = ["logger=wandb", "logger.wandb.offline=false"], None
        env = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "x" * 40}
        env |= {"WANDB_MODE": "online", "WANDB_INIT_TIMEOUT": "3", "WANDB_LOGIN_TIMEOUT": "3"}
    code, text = server.run(["train", *words, *more], out, hurt, **env)
    run = folder(words)
    assert code == 0 and run.status["lost_logger_rows"], text
    complete(server, words, out)
    assert same(run, whole)
    tried(tries=1, survived=1, lost_steps=0, lost_rows=lost_rows(run, whole))


@pytest.mark.fault(17)
@pytest.mark.parametrize("kind", ["killed", "hangs", "stopped"])
def test_a_worker_that_fails(server, whole, tried, tmp_path: Path, kind: str):
    words, out = [*WORDS, f"study=worker-{kind}"], tmp_path / "out"
    more = ["trainer.where=workers", "trainer.workers=1"]
    code, text = server.run(["train", *words, *more], out, partial(hurt_worker, kind))
    run = folder(words)
    assert code not in (0, None) and run.status["state"] == "failed", text
    assert "DataLoader" in run.status["reason"], text
    assert list((run / "checkpoints").glob("last-*")), text
    complete(server, words, out)
    assert same(run, whole)
    tried(tries=1, survived=1, lost_steps=2, lost_rows=lost_rows(run, whole))


def hurt_worker(kind: str) -> None:
    """The worker's ninth batch is its last."""
    from aigc.data import datamodule

    datamodule.STALL = 3
    read, count = datamodule.Mapped.__getitems__, []

    def getitems(self, index):
        count.append(1)
        if len(count) == 9 and torch.utils.data.get_worker_info():
            {
                "killed": partial(send, signal.SIGKILL),
                "hangs": partial(time.sleep, 600),
                "stopped": partial(send, signal.SIGSTOP),
            }[kind]()
        return read(self, index)

    datamodule.Mapped.__getitems__ = getitems


@pytest.mark.fault(18)
@pytest.mark.parametrize("where", ["training_step", "validation_step"])
@pytest.mark.parametrize("host", [False, True])
def test_memory_that_runs_out(server, whole, tried, tmp_path: Path, where: str, host: bool):
    words, out = (
        [*WORDS[:-1], "trainer.save_every=60m", f"study=oom-{where}-{host}"],
        tmp_path / "out",
    )
    code, text = server.run(["train", *words], out, partial(no_memory, where, host))
    run = folder(words)
    assert code == 12 and "smaller budget.batch_size" in text and "lost 0" in text, text
    complete(server, words, out)
    assert same(run, whole)
    tried(tries=1, survived=1, lost_steps=0, lost_rows=lost_rows(run, whole))


def no_memory(where: str, host: bool) -> None:
    """The device's or the host's memory is full from the ninth batch on."""
    from aigc.families.vae.module import VAE

    method = getattr(VAE, where)

    def full(self, batch, index):
        if self.trainer.fit_loop.epoch_loop.batch_idx >= 7:
            if host:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 4 GB")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return method(self, batch, index)

    setattr(VAE, where, full)


@pytest.mark.fault(19)
def test_a_lock_is_held_by_the_living_alone(server, whole, tried, tmp_path: Path):
    words, out = [*WORDS, "study=lock"], tmp_path / "out"
    child = server.start(["train", *words], out, partial(at, 5, signal.pause))
    run = folder(words)
    while run.state != "running" or not Path(f"{out}.at").exists():
        assert child.is_alive()
    code, text = server.run(["train", *words], tmp_path / "second")
    assert code == 2 and f"is being trained by process {child.pid} on" in text, text
    assert not list(damage(run))
    child.kill()
    child.join()
    assert run.state == "stale"
    complete(server, words, out)
    assert same(run, whole)
    tried(tries=1, survived=1, lost_steps=2, lost_rows=lost_rows(run, whole))


@pytest.mark.fault(20)
@pytest.mark.parametrize("kind", ["read-only", "file", "room"])
def test_a_folder_that_takes_nothing(server, tmp_path: Path, kind: str):
    (tmp_path / "file").touch()
    root = {"read-only": "/proc/aigc", "file": str(tmp_path / "file")}.get(kind)
    env = {"AIGC_RUNS": root or str(tmp_path / "runs")}
    hurt = partial(fill_disk, 10) if kind == "room" else None
    out = tmp_path / "out"
    out.touch()
    code, text = server.run(["train", *WORDS, "study=none"], out, hurt, **env)
    assert code not in (0, None) and "Traceback" not in text and not Path(f"{out}.at").exists()
    assert text.count("aigc: ") == 1 or kind == "room", text
