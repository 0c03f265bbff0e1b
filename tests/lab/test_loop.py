"""The short way through a step leaves what Lightning's way leaves, to the bit."""

import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.nn.utils import get_total_norm

import aigc
from aigc.lab import guards, training
from aigc.lab.callbacks import EMA
from aigc.lab.loop import Loop

FAMILIES = {
    "diffusion": ["model=diffusion", "modality=tabular"],
    "autoregressive": ["model=autoregressive", "modality=tabular", "trainer.precision=bf16-mixed"],
    "gan": ["model=gan", "modality=tabular", "model.clip=0.1"],
    "vae": ["model=vae", "modality=tabular", "trainer.oom=halve"],
}


def trained(words: list[str], study: str):
    more = ["budget=smoke", "trainer.validations=2", "trainer.preview=0", f"study={study}"]
    run = aigc.train(*words, *more)
    log = (run.dir / "log.csv").read_text().splitlines()
    return run, [line.split(",")[::2] + line.split(",")[3:] for line in log]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_and_log(family: str, monkeypatch, tmp_path):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    used = []
    before = Loop.on_run_start
    monkeypatch.setattr(Loop, "on_run_start",
                        lambda self, f: (before(self, f), used.append(self._short)))  # fmt: skip
    ours, log = trained(FAMILIES[family], "ours")
    assert used == [True]
    monkeypatch.setattr(training, "shorten", lambda trainer: trainer)
    monkeypatch.setattr(EMA, "on_train_start", lambda *a: None)
    monkeypatch.setattr(EMA, "on_train_batch_end", WeightAveraging.on_train_batch_end)
    monkeypatch.setattr(guards, "total_norm", get_total_norm)
    theirs, other = trained(FAMILIES[family], "theirs")
    assert [row for row in log if "seconds" not in row] == other
    a, b = ours.model.state_dict(), theirs.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_who_writes_a_hook_is_called(tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    told = []
    real = training.make_trainer

    class Listener(training.L.Callback):
        def on_before_backward(self, trainer, module, loss):
            told.append("backward")

        def on_after_backward(self, trainer, module):
            told.append("after")

        def on_before_zero_grad(self, trainer, module, optimizer):
            told.append("zero")

    def with_listener(*args):
        trainer = real(*args)
        trainer.callbacks.append(Listener())
        return trainer

    monkeypatch.setattr(training, "make_trainer", with_listener)
    trained([*FAMILIES["diffusion"], "budget.examples=64", "budget.batch_size=32"], "told")
    assert told == ["zero", "backward", "after"] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to look for")
def test_optimizers_do_not_open_a_library_at_every_step(tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as Lightning leaves it
    looked, real = [], torch.cuda._device_count_nvml
    monkeypatch.setattr(torch.cuda, "_device_count_nvml", lambda: looked.append(1) or real())
    start = training.L.Trainer.fit
    monkeypatch.setattr(
        training.L.Trainer, "fit", lambda *a, **k: (looked.clear(), start(*a, **k))[1]
    )
    trained([*FAMILIES["diffusion"], "budget.examples=640", "budget.batch_size=32"], "looked")
    assert len(looked) < 10
