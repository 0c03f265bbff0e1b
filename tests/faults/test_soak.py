"""A sweep of short runs under random faults, tried again until it is complete, gives the files of
one that nothing happened to."""

import random
import time
from functools import partial
from pathlib import Path

import pytest
from forked import BATCHES, CELL, FAMILIES, SIZE, Server, at, break_logger, fill_disk
from outcome import Attempts, folder, lost_rows, same

from aigc.runs import RunDir

WORDS = [*CELL, f"trainer.save_every={2 * SIZE}"]


def whole(server: Server, words: list[str], out: Path) -> tuple[RunDir, float]:
    """The run that nothing happens to, and how long it takes."""
    begin = time.monotonic()
    attempts = Attempts(server, words, out)
    code, text = server.run(["train", *words], out)
    seconds = time.monotonic() - begin
    assert code == 0, text
    attempts.judge()
    return folder(words), seconds


def hurts(rng: random.Random) -> partial | None:
    """A broken logger, a disk that is full from some batch on, both or neither."""
    full = partial(at, rng.randrange(BATCHES), fill_disk) if rng.random() < 0.3 else None
    broken = rng.random() < 0.4
    return partial(both, broken, full) if broken or full else None


def both(broken: bool, full: partial | None) -> None:
    """Called in the child."""
    if broken:
        break_logger()
    if full:
        full()


def attempt(attempts: Attempts, rng: random.Random, seconds: float) -> int:
    """One try with its faults: perhaps a signal at a random time; its exit code."""
    words = ["train", *attempts.words, "logger=tensorboard"]
    child = attempts.server.start(words, attempts.out, hurts(rng))
    if rng.random() < 0.7:
        child.join(rng.uniform(0.1, 1) * seconds)
        (child.kill if rng.random() < 0.5 else child.terminate)()
    child.join(120)
    return child.exitcode


def judge(attempts: Attempts, rng: random.Random) -> None:
    """Judge the run, killed on the way or not, and once more."""
    if rng.random() < 0.5:
        child = attempts.server.start(attempts.judging, attempts.out)
        child.join(rng.uniform(0.1, 0.6))
        child.kill()
        child.join()
    attempts.judge()


@pytest.mark.fault(25)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_sweep_survives(
    server: Server, tried, fault_seed: int, tmp_path: Path, request, family: str
):
    rng, count = random.Random(f"{fault_seed}{family}"), request.config.getoption("--soak")
    lost, rows, deaths = 0, 0, 0
    for seed in range(count):
        words = [f"model={family}", f"seed={seed}", *WORDS]
        unhurt, seconds = whole(server, [*words, f"study=calm{fault_seed}"], tmp_path / "out")
        attempts = Attempts(server, [*words, f"study=soak{fault_seed}"], tmp_path / "out")
        attempts.until_done(partial(attempt, rng=rng, seconds=seconds))
        judge(attempts, rng)
        assert not attempts.damage, attempts.damage
        assert same(attempts.run, unhurt), seed
        lost, deaths = max(lost, attempts.lost), deaths + attempts.deaths
        rows += lost_rows(attempts.run, unhurt)
    facts = {"lost_steps": lost, "lost_rows": rows, "deaths": deaths, "seed": fault_seed}
    tried(tries=count, survived=count, **facts)
