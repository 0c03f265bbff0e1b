"""Two processes that train one run: when one of them fails, none is left, and the run goes on."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from forked import CELL, SIZE, Server, at, send
from outcome import folder, lost_rows, same

from aigc.runs import RunDir

PATIENCE = 4  # seconds that a rank waits for another
GRACE = PATIENCE + 1  # and that it has when the other one has failed
WORDS = ["model=vae", *CELL, f"trainer.save_every={SIZE}", "strategy=ddp_cpu"]


def pair(server: Server, words: list[str], out: Path, hurt: partial | None) -> list[BaseProcess]:
    """Both ranks, started as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    env |= {"AIGC_DDP_TIMEOUT": str(PATIENCE)}
    return [
        server.start(
            ["train", *words], Path(f"{out}{r}"), hurt, LOCAL_RANK=str(r), RANK=str(r), **env
        )
        for r in range(2)
    ]


def ended(ranks: list[BaseProcess], within: float) -> list[int | None]:
    """Exit codes, None for one that still lives."""
    until = time.monotonic() + within
    while time.monotonic() < until and any(rank.is_alive() for rank in ranks):
        if any(rank.exitcode for rank in ranks):  # one has failed: the others have a little time
            until = min(until, time.monotonic() + GRACE)
            for rank in ranks:
                rank.join(max(0.0, until - time.monotonic()))
        time.sleep(0.02)
    codes = [rank.exitcode for rank in ranks]
    for rank in ranks:
        rank.kill()
        rank.join()
    return codes


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory) -> RunDir:
    """The run of two processes that nothing happens to."""
    out, words = tmp_path_factory.mktemp("two") / "out", [*WORDS, "study=two"]
    assert ended(pair(server, words, out, None), 60) == [0, 0], Path(f"{out}0").read_text()
    return folder(words)


def fail() -> None:
    """An error of one rank alone."""
    raise RuntimeError("this rank has failed")


HURTS = {
    "killed": partial(send, signal.SIGKILL),
    "raises": fail,
    "stalls": partial(time.sleep, 600),
    "SIGTERM": partial(send, signal.SIGTERM),
}


@pytest.mark.fault(10)
@pytest.mark.fault(16)
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", HURTS)
def test_no_rank_is_left_and_the_run_goes_on(
    server: Server, whole: RunDir, tried, tmp_path: Path, kind: str, rank: int
):
    words, out = [*WORDS, f"study=two-{kind}-{rank}"], tmp_path / "out"
    codes = ended(pair(server, words, out, partial(at, 5, HURTS[kind], rank)), PATIENCE + 10)
    text = Path(f"{out}0").read_text() + Path(f"{out}1").read_text()
    told = kind == "SIGTERM" and rank == 1  # rank zero alone is asked
    if kind == "stalls":  # the other one gives up; who has launched them ends this one
        del codes[rank]
    assert None not in codes and (any(codes) or told), (codes, text)
    assert ended(pair(server, words, out, None), 60) == [0, 0], Path(f"{out}0").read_text()
    run = folder(words)
    assert run.is_done and same(run, whole)
    tried(tries=1, survived=1, lost_steps=1, lost_rows=lost_rows(run, whole))


STALL = """
import time
from aigc.lab.callbacks import Seeds
hook = Seeds.on_train_batch_start
def hurt(self, trainer, module, batch, index):
    hook(self, trainer, module, batch, index)
    if index == 4 and trainer.global_rank == RANK:
        time.sleep(600)
Seeds.on_train_batch_start = hurt
"""


@pytest.mark.slow
@pytest.mark.fault(16)
@pytest.mark.parametrize("rank", [0, 1])
def test_one_command_leaves_no_process_that_stalls(tmp_path: Path, rank: int):
    (tmp_path / "stall.py").write_text(STALL.replace("RANK", str(rank)))
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "AIGC_DDP_TIMEOUT": str(PATIENCE)}
    line = [sys.executable, "-m", "aigc", "train", *WORDS, f"study=stall{rank}", "plugins=[stall]"]
    command = subprocess.Popen(line, cwd=tmp_path, env=env, start_new_session=True)
    try:
        assert command.wait(120) != 0
        time.sleep(2)
        with pytest.raises(ProcessLookupError):
            os.killpg(command.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
