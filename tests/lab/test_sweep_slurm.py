"""What SLURM is asked for, with an `sbatch` that only writes it down."""

from pathlib import Path

import pytest

from aigc.core.errors import BadInput
from aigc.lab.sweeps.places import Ranks

pytest.importorskip("submitit")
from aigc.lab.sweeps.clusters import Submitit

SETTINGS = {"cpus": 4, "gpus": 1, "minutes": 60, "requeues": 3}
SETTINGS["more"] = {"slurm_partition": "long"}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder into which submission files are copied."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, does in {
        "sbatch": f'cp "$1" {tmp_path}/asked.sh; echo Submitted batch job 42',
        "srun": "true",
        "scontrol": "true",
        "sacct": "true",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return tmp_path / "asked.sh"


def test_a_job_has_a_task_for_each_device(asked: Path, tmp_path: Path):
    place = Submitit(str(tmp_path / "jobs"), "slurm", **SETTINGS)
    place.start(["train", "seed=0"], str(tmp_path / "log"), {}, Ranks(8, 2))
    words = {line.split(" ", 1)[1] for line in asked.read_text().splitlines() if "#SBATCH" in line}
    assert {
        "--nodes=2",
        "--ntasks-per-node=8",
        "--gpus-per-node=8",
        "--cpus-per-task=4",
        "--time=60",
        "--partition=long",
        "--signal=USR2@90",
    } <= words


def test_a_task_that_is_told_to_stop_is_queued_again(tmp_path: Path, monkeypatch):
    """The training process gets SIGTERM and its time to save before submitit asks for the job
    again."""
    import subprocess
    import sys

    from aigc.lab.sweeps.clusters import Command

    said = tmp_path / "said"
    code = f"""
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path({str(said)!r}).write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""
    task = Command()
    task.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    task.process.stdout.readline()
    again = task.checkpoint(["train"], "log", {})
    assert said.read_text() == "saved" and task.process.wait() == 143
    assert again.args == (["train"], "log", {}) and isinstance(again.function, Command)


def test_a_machine_without_slurm_is_told_what_to_do(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"no sbatch here.*cluster=local"):
        Submitit(str(tmp_path), "slurm", **SETTINGS)
    with pytest.raises(BadInput, match="slurm or local"):
        Submitit(str(tmp_path), "sge", **SETTINGS)
