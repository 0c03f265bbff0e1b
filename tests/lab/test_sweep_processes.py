"""Whole sweeps by the launchers and with ranks; minutes, most run with -m slow."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aigc.lab.sweeps.places import Forked
from aigc.runs import RunDir

QUICK = ["model=vae", "budget=smoke", "trainer.validations=2", "trainer.preview=0"]
SPY = """
import json, os
from aigc.lab import training
make = training.make_trainer
def spy(config, run, model, store):
    trainer = make(config, run, model, store)
    seen = {"lr": model.make_optimizer.keywords["lr"], "seed": config["seed"], "run": str(run)}
    with open(os.environ["SPY"] + f"/{run.path.name}.rank{trainer.global_rank}", "x") as file:
        json.dump(seen, file)
    return trainer
training.make_trainer = spy
"""


def sweep(*words: str, cwd: Path | None = None, **more) -> subprocess.Popen:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "SPY": str(cwd)}
    line = [sys.executable, "-m", "aigc", "train", "-m", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=cwd, env=env, **pipes, **more)


def finished(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return out, err


def weights(study: Path) -> dict[str, str]:
    return {run.path.name: run.status["weights"] for run in RunDir.below(study) if run.is_done}


def deaf(write: int) -> None:
    """A cell that hears no SIGTERM, nor does what it has started."""
    os.setsid()
    if not (child := os.fork()):
        os.kill(os.getpid(), signal.SIGSTOP)
    os.write(write, str(child).encode())
    os.kill(os.getpid(), signal.SIGSTOP)


def state(process: int) -> str:
    """T is stopped, Z dead and not yet waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_cell_that_hears_nothing_is_killed_with_what_it_has_started():
    read, write = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=deaf, args=(write,))
    process.start()
    job, child = Forked(process), int(os.read(read, 20))
    try:
        assert soon(lambda: state(process.pid) == state(child) == "T")
        job.stop()
        process.join(0.1)
        assert job.poll() is None and state(child) == "T"
    finally:
        job.kill()
    process.join(10)
    assert job.poll() == -signal.SIGKILL and soon(lambda: state(child) == "Z")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=0.001,0.01"],
        ["hydra/sweeper=optuna", "hydra.sweeper.trials=2", "optimizer.lr=interval(0.001,0.01)"],
    ],
    ids=["grid", "optuna"],
)
def test_ranks_share_their_settings(words: list[str], tmp_path: Path, folders: Path):
    """The ranks of a cell repeat its own command: one folder a cell, one configuration in it."""
    import json

    pytest.importorskip("optuna")
    (tmp_path / "spy.py").write_text(SPY)
    name = f"ranks{len(words)}"
    more = [f"study={name}", "strategy=ddp_cpu", "plugins=[spy]", "hydra.launcher.jobs=1"]
    finished(sweep(*QUICK, *words, *more, cwd=tmp_path))
    study = folders / "runs" / name
    runs = [p.name for p in study.iterdir() if p.name != ".sweep"]
    seen = {p.name: json.loads(p.read_text()) for p in tmp_path.glob("*.rank*")}
    assert len(runs) == 2 and sorted(seen) == sorted(f"{r}.rank{i}" for r in runs for i in (0, 1))
    assert all(seen[f"{r}.rank0"] == seen[f"{r}.rank1"] for r in runs)
    assert len({facts["lr"] for facts in seen.values()}) == 2
    assert {p.name for p in tmp_path.iterdir()} - set(seen) <= {"spy.py", "__pycache__"}


@pytest.mark.slow
def test_launchers_agree_bit_for_bit(folders: Path):
    """Also with runs that are trained in one process after another."""
    from aigc.lab.conf import compose
    from aigc.lab.training import train

    found = {}
    for launcher in ("process", "joblib", "submitit", "ray"):
        pytest.importorskip(launcher if launcher in ("ray", "submitit") else "joblib")
        local = ["hydra.launcher.cluster=local"] if launcher == "submitit" else []
        words = [f"hydra/launcher={launcher}", "hydra.launcher.jobs=2", f"study=by_{launcher}"]
        finished(sweep(*QUICK, *words, *local, "seed=0,1"))
        found[launcher] = weights(folders / "runs" / f"by_{launcher}")
    for seed in (0, 1):
        train(compose("train", [*QUICK, f"seed={seed}", "study=by_hand"]))
    found["alone"] = weights(folders / "runs" / "by_hand")
    assert len(found["alone"]) == 2
    assert all(w == found["alone"] for w in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped_leaves_states_and_goes_on(number: int, folders: Path):
    words = [*QUICK, "budget.examples=20000", "seed=0,1,2", f"study=stopped{number}"]
    words += ["hydra.launcher.jobs=1"]
    process = sweep(*words)
    study = folders / "runs" / f"stopped{number}"
    until = time.monotonic() + 200
    while not any(_seen(run) > 3000 for run in RunDir.below(study)):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == {2: 130, 15: 143, 9: -9}[number]
    until = time.monotonic() + 60
    while any(run.state == "running" for run in RunDir.below(study)):
        assert time.monotonic() < until  # nothing is left behind that trains
        time.sleep(0.1)
    assert not weights(study)
    (run,) = RunDir.below(study)
    assert list((run / "checkpoints").glob("last-*.ckpt"))
    finished(sweep(*words))
    events = [row["event"] for row in run.rows("events.jsonl")]
    assert "resumed" in events and len(weights(study)) == 3


def _seen(run: RunDir) -> int:
    from aigc.lab.sweeps.cells import tail

    last = tail(run / "log.csv")[-1:]
    return int(last[0].split(",")[0]) if last and last[0][0].isdigit() else 0
