"""A process that is killed at any time leaves whole files, loses at most the batches since its last
state, and goes on to what it would have been."""

import random
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from forked import CELL, FAMILIES, SIZE, Server, at, send
from outcome import Attempts, folder, litter, lost_rows, same

from aigc.runs import RunDir

INTERVAL = 2  # batches between two states
WORDS = [*CELL, f"trainer.save_every={INTERVAL * SIZE}"]
ELSEWHERE = Path("/dev/shm")  # another file system than that of the runs


@pytest.fixture(scope="module")
def unhurt(server: Server, tmp_path_factory) -> dict[str, tuple[RunDir, float]]:
    """Of each family a run that nothing happened to, and how long it took."""
    out, found = tmp_path_factory.mktemp("unhurt"), {}
    for family in FAMILIES:
        words = [f"model={family}", *WORDS, "study=unhurt"]
        server.run(["train", "seed=99", *words], out / family)  # memory is warm after this
        begin = time.monotonic()
        code, text = server.run(["train", *words], out / family)
        seconds, run = time.monotonic() - begin, folder(words)
        assert code == 0, text
        code, text = server.run(["evaluate", f"run={run}", "extractors=[pca]"], out / family)
        assert code == 0, text
        found[family] = run, seconds
    return found


def killed(attempts: Attempts, after: float, env: dict[str, str]) -> int:
    """Kill a run `after` seconds, wherever it is then; its exit code."""
    child = attempts.server.start(["train", *attempts.words], attempts.out, **env)
    child.join(after)
    child.kill()
    child.join()
    return child.exitcode


def kills(
    server: Server, unhurt: tuple, family: str, count: int, seed: int, out: Path, env: dict
) -> dict:
    """Runs of a family that are killed until `count` kills have hit; what was lost."""
    whole, seconds = unhurt
    rng, hits, lost, rows, run = random.Random(seed), 0, 0, 0, 0
    while hits < count:
        words = [f"model={family}", *WORDS, f"study=kill{seed}-{len(env)}-{run}"]
        attempts = Attempts(server, words, out)

        def some_time(a: Attempts) -> int:  # longer on a machine that has become busier
            return killed(a, rng.uniform(0.1, 1) * seconds * (1 + a.deaths / 10), env)

        attempts.until_done(some_time)
        assert not attempts.damage, attempts.damage
        assert attempts.lost <= INTERVAL
        attempts.judge()
        assert same(attempts.run, whole)
        hits, lost = hits + attempts.deaths, max(lost, attempts.lost)
        rows, run = rows + lost_rows(attempts.run, whole), run + 1
        assert run < 10 * count
    return {"tries": hits, "survived": hits, "lost_steps": lost, "lost_rows": rows, "seed": seed}


@pytest.mark.fault(1)
@pytest.mark.parametrize("family", FAMILIES)
def test_sigkill_at_random_times(
    server: Server, unhurt, tried, fault_seed: int, tmp_path: Path, request, family: str
):
    count = request.config.getoption("--kills")
    tried(**kills(server, unhurt[family], family, count, fault_seed, tmp_path / "out", {}))


@pytest.mark.fault(2)
@pytest.mark.skipif(not ELSEWHERE.is_dir(), reason="there is no second file system")
def test_sigkill_with_a_temporary_folder_elsewhere(
    server: Server, unhurt, tried, fault_seed: int, tmp_path: Path, request
):
    count = request.config.getoption("--kills")
    assert ELSEWHERE.stat().st_dev != tmp_path.stat().st_dev
    with TemporaryDirectory(dir=ELSEWHERE) as folder:
        env = {"TMPDIR": folder}
        tried(**kills(server, unhurt["vae"], "vae", count, fault_seed, tmp_path / "out", env))
        assert not list(Path(folder).iterdir())


@pytest.mark.fault(7)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number, code", [(15, 143), (2, 130)], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_saves_and_says_so(
    server: Server, unhurt, tried, tmp_path: Path, family: str, number: int, code: int
):
    whole, _ = unhurt[family]
    words = [f"model={family}", *CELL, "trainer.save_every=60m", f"study=signal{number}"]
    out, run = tmp_path / "out", folder(words)
    ended, text = server.run(["train", *words], out, partial(at, 5, partial(send, number)))
    assert ended == code, text
    assert run.status["state"] == "failed" and "lost 0" in text
    attempts = Attempts(server, words, out)
    attempts.until_done(lambda a: server.run(["train", *a.words], out)[0])
    attempts.judge()
    assert same(run, whole) and not litter(run)
    tried(tries=1, survived=1, lost_steps=0, lost_rows=lost_rows(run, whole))
