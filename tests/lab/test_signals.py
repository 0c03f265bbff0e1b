"""Ctrl-C, SIGTERM and SLURM's signals end a run between two batches, with its state saved."""

import os
import signal
from pathlib import Path

import pytest

from aigc.core.errors import BadInput
from aigc.lab.conf import compose
from aigc.lab.signals import Signals
from aigc.lab.states import Checkpoints
from aigc.lab.training import train
from aigc.runs import RunDir

WORDS = [
    "model=vae", "budget=smoke", "budget.examples=256", "trainer.validations=2",
    "trainer.preview=0", "trainer.save_every=60m",
]  # fmt: skip


def hurt(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """Send signals to this process in the middle of the third step."""
    hook = Checkpoints.on_before_optimizer_step

    def spy(self, trainer, module, optimizer) -> None:
        hook(self, trainer, module, optimizer)
        if self._index == 2:
            for number in numbers:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(Checkpoints, "on_before_optimizer_step", spy)


@pytest.mark.parametrize(
    "numbers, ended, kept",
    [([2], KeyboardInterrupt, 96), ([2, 2], KeyboardInterrupt, 0), ([15], SystemExit, 96)],
    ids=["Ctrl-C", "twice", "SIGTERM"],
)
def test_the_batch_is_finished_unless_one_insists(monkeypatch, capsys, numbers, ended, kept: int):
    before = [signal.getsignal(number) for number in (2, 15)]
    hurt(monkeypatch, *numbers)
    words = [*WORDS, f"study=signals{len(numbers)}{numbers[0]}"]
    with pytest.raises(ended):
        train(compose("train", words))
    assert f"kept {kept} examples" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in (2, 15)] == before
    assert RunDir.of(compose("train", words)).status["state"] == "failed"


@pytest.mark.parametrize("said, code", [("", 0), ("slurm_update error: no", 1)])
@pytest.mark.parametrize("name", ["usr1", "term"])
def test_slurm_is_asked_to_start_the_job_again(
    monkeypatch, tmp_path: Path, capfd, said: str, code: int, name: str
):
    asked = tmp_path / "asked"
    fake = tmp_path / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$@" > {asked}\necho "{said}" >&2\nexit {code}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for key, value in {"JOB_ID": 42, "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{key}", str(value))
    monkeypatch.setenv("SLURM_JOB_NAME", "job")
    number = {"usr1": signal.SIGUSR1, "term": signal.SIGTERM}[name]
    hurt(monkeypatch, number)
    words = [*WORDS, f"study=slurm{code}{name}", f"trainer.requeue={name}"]
    with pytest.raises(SystemExit) as end:
        train(compose("train", words))
    assert end.value.code == 143 and asked.read_text() == "requeue 42\n"
    run, error = RunDir.of(compose("train", words)), capfd.readouterr().err
    assert (f"not requeued: {said}" if code else "requeued") in error
    assert [f.stem for f in (run / "checkpoints").glob("*.ckpt")] == ["last-000000000096"]
    hurt(monkeypatch)
    assert train(compose("train", words)).is_done


def test_another_signal_is_refused():
    with pytest.raises(BadInput, match=r"unknown trainer\.requeue 'usr3'"):
        Signals("usr3")


def test_without_slurm_its_signal_is_left_alone(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    signals = Signals("usr1")
    signals.listen()
    assert signal.getsignal(signal.SIGUSR1) == before
    signals.forget()
