"""Steps without finite gradients are skipped, spikes noted, loggers and full disks survived."""

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aigc.families.base import GenerativeModule
from aigc.lab.callbacks import Log
from aigc.lab.conf import compose
from aigc.lab.guards import Guard, OutOfMemory, Spikes, out_of_memory
from aigc.lab.loggers import PATIENCE, Guest
from aigc.lab.run import load
from aigc.lab.training import train
from aigc.runs import RunDir

QUICK = [
    "budget=smoke", "budget.examples=640", "trainer.validations=2", "trainer.preview=0",
    "trainer.save_every=64",
]  # fmt: skip


def trainer(optimizer) -> SimpleNamespace:
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=0))
    return SimpleNamespace(optimizers=[optimizer], is_global_zero=True, fit_loop=loop)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_bad_step_changes_nothing_and_a_good_one_is_clipped(tmp_path, fused: bool, clip):
    def start():
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 3)
        return net, torch.optim.AdamW(net.parameters(), lr=0.1, fused=fused)

    (net, optimizer), (other, reference) = start(), start()
    guard = Guard(RunDir(tmp_path), clip, limit=3, every=4)
    for step in range(8):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        bad = step in (2, 3, 5)
        for n, opt in ((net, optimizer), (other, reference)):
            opt.zero_grad()
            (n(x) * (float("nan") if bad and n is net else 1.0)).square().sum().backward()
        guard.on_before_optimizer_step(trainer(optimizer), None, optimizer)
        told = vars(optimizer).pop("grad_norm", torch.tensor(torch.nan))
        optimizer.step()
        assert bool(told.isnan()) == bad
        if not bad:
            norm = torch.nn.utils.clip_grad_norm_(other.parameters(), clip or torch.inf)
            assert torch.equal(told, norm)
            reference.step()
    guard.on_train_end(trainer(optimizer), None)
    assert guard.skipped == 3
    for a, b in zip(net.parameters(), other.parameters()):
        assert torch.equal(a, b)
    assert len(RunDir(tmp_path).rows("events.jsonl")) == 3


@pytest.mark.parametrize("fused", [False, True])
def test_bad_steps_in_a_row_end_the_run(tmp_path: Path, fused: bool):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], fused=fused)
    guard = Guard(RunDir(tmp_path), None, limit=3, every=1)
    with pytest.raises(FloatingPointError, match="3 steps in a row"):
        for _ in range(5):
            parameter.grad = torch.full((3,), float("inf"))
            guard.on_before_optimizer_step(trainer(optimizer), None, optimizer)
            optimizer.step()
    assert torch.equal(parameter, torch.ones(3))


@pytest.mark.fault(12)
@pytest.mark.parametrize("family", ["vae", "gan"])
def test_one_bad_batch_is_survived_and_told(monkeypatch, capsys, family: str):
    poison(monkeypatch, {7})
    folder = RunDir(train(compose("train", [f"model={family}", "study=nan", *QUICK])).path)
    skipped = folder.status["skipped_steps"]
    assert skipped == {"vae": 1, "gan": 2}[family]  # a GAN steps twice in a batch
    assert "skipped_steps" in capsys.readouterr().err
    assert all(torch.isfinite(p).all() for p in load(folder.path).model.parameters())


@pytest.mark.fault(13)
def test_endless_nan_ends_the_run_and_no_bad_weights_are_saved(monkeypatch):
    poison(monkeypatch, set(range(5, 20)))
    config = compose("train", ["model=gan", "study=endless", *QUICK])
    with pytest.raises(FloatingPointError, match="10 steps in a row"):
        train(config)
    run = RunDir.of(config)
    assert run.status["state"] == "failed"
    files = list((run / "checkpoints").glob("last-*.ckpt"))
    assert files
    for file in files:
        state = torch.load(file, weights_only=True)
        assert all(torch.isfinite(v).all() for v in state["state_dict"].values())


def poison(monkeypatch: pytest.MonkeyPatch, batches: set[int]) -> None:
    """Make the gradients of some batches NaN."""
    real = GenerativeModule.backward

    def backward(self, loss, *args, **kwargs) -> None:
        index = self.trainer.fit_loop.epoch_loop.batch_idx
        real(self, loss * float("nan") if index in batches else loss, *args, **kwargs)

    monkeypatch.setattr(GenerativeModule, "backward", backward)


@pytest.mark.fault(18)
def test_memory_that_runs_out_saves_and_advises(monkeypatch, aigc):
    def full(self, x, y):
        if self.trainer.fit_loop.epoch_loop.batch_idx == 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss(self, x, y)

    from aigc.families.vae.module import VAE

    loss = VAE.loss
    words = ["model=vae", "study=oom", *QUICK, "trainer.save_every=60m"]
    with monkeypatch.context() as patch:
        patch.setattr(VAE, "loss", full)
        code, _, error = aigc("train", *words)
    assert code == 12 and "smaller budget.batch_size" in error and "kept 192 examples" in error
    code, _, error = aigc("train", *words)
    assert code == 0 and "going on from 192 examples" in error


def test_what_counts_as_out_of_memory():
    assert out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory")
    )
    assert out_of_memory(MemoryError()) and out_of_memory(OutOfMemory(""))
    assert not out_of_memory(RuntimeError("shape mismatch"))


def test_spikes_are_noted(tmp_path: Path):
    log = SimpleNamespace(examples=0, latest={})
    spikes = Spikes(RunDir(tmp_path), log, window=8)
    rng = torch.Generator().manual_seed(0)
    for i in range(1, 30):
        value = 50.0 if i == 20 else 1 + 0.1 * float(torch.randn((), generator=rng))
        log.examples, log.latest = i, {"train/loss": value, "val/loss": 99.0 * i}
        spikes.on_train_batch_end(SimpleNamespace(is_global_zero=True), None, None, None, i)
    rows = RunDir(tmp_path).rows("events.jsonl")
    assert [(r["examples"], r["name"]) for r in rows] == [(20, "train/loss")]


class Broken:
    """A logger whose server is away."""

    calls = 0

    def log_metrics(self, metrics, step):
        self.calls += 1
        raise ConnectionError("no route to host")

    def __getattr__(self, name):
        raise ConnectionError("no route to host")


@pytest.mark.fault(14)
def test_a_guest_that_fails_is_left_alone_and_its_rows_are_counted(capsys):
    guest = Guest(Broken())
    for step in range(10):
        guest.log_metrics({"a": 1.0, "b": 2.0}, step)
    assert guest.experiment is None and guest.name is None
    guest.finalize("success")
    assert guest.lost == 20 and guest.inner.calls == PATIENCE
    assert capsys.readouterr().err == "Broken: ConnectionError: no route to host\n"


@pytest.mark.fault(14)
def test_a_broken_logger_does_not_end_a_run(monkeypatch):
    from lightning.pytorch.loggers import TensorBoardLogger

    monkeypatch.setattr(TensorBoardLogger, "log_metrics", Broken.log_metrics)
    monkeypatch.setattr(TensorBoardLogger, "calls", 0, raising=False)
    run = train(compose("train", ["model=vae", "logger=tensorboard", "study=guest", *QUICK]))
    assert run.is_done
    lost = run.status["lost_logger_rows"]["TensorBoardLogger"]
    rows = list(csv.DictReader((run / "log.csv").open()))
    assert lost["rows"] >= len(rows) and "no route" in lost["reason"]


@pytest.mark.fault(15)
def test_rows_that_a_full_disk_refuses_are_written_later(tmp_path: Path):
    log = Log(tmp_path / "log.csv", batch_size=1, batches=100, points=100)
    log._append("1,0,a,1\n")
    os.rename(tmp_path / "log.csv", tmp_path / "kept")
    os.symlink("/dev/full", tmp_path / "log.csv")
    log._append("2,0,a,1\n")
    log._append("3,0,a,1\n")
    assert log.unwritten.count("\n") == 2
    os.replace(tmp_path / "kept", tmp_path / "log.csv")
    log._append("4,0,a,1\n")
    examples = [r["examples"] for r in csv.DictReader((tmp_path / "log.csv").open())]
    assert examples == ["1", "2", "3", "4"]
