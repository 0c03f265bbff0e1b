"""The same seed gives the same bits: weights, samples, whatever the batch size or the machine's
mood."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import aigc
from aigc.lab.conf import compose
from aigc.lab.training import train
from aigc.runs import RunDir, signature

FAMILIES = (
    "autoregressive",
    "diffusion",
    "masked_diffusion",
    "uniform_diffusion",
    "vae",
    "gan",
)
QUICK = ["budget=smoke", "trainer.validations=2", "trainer.preview=0"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "model.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_trains_the_same_weights(family: str):
    folders = []
    for study in ("once", "twice"):
        torch.manual_seed(hash(study) % 1000)  # what ran before must not matter
        words = [f"model={family}", f"study={study}", "budget.examples=160", *QUICK]
        folders.append(train(compose("train", words)).path)
    assert folders[0].name == folders[1].name and folders[0] != folders[1]
    a, b = map(weights, folders)
    assert all(torch.equal(a[name], b[name]) for name in a)
    other = train(compose("train", [f"model={family}", "seed=1", "budget.examples=160", *QUICK]))
    c = weights(other.path)
    assert any(not torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_samples_do_not_depend_on_the_batch(smoke, family: str, modality: str):
    words = [f"model={family}", f"modality={modality}", "trainer.preview=8"]
    if "diffusion" in family:
        words += ["sampler.steps=5", "model.terms=5"]
    run = aigc.load(smoke(*words))
    whole = run.sample(64, seed=3, batch_size=64)
    for size in (7, 20, 64):
        part = run.sample(64, seed=3, batch_size=size)
        assert torch.equal(part.ids, whole.ids), size
    assert torch.equal(run.sample(10, seed=3).ids, whole.ids[:10])
    assert not torch.equal(run.sample(64, seed=4).ids, whole.ids)


def test_a_label_fixes_the_class_and_not_the_rest(smoke):
    run = aigc.load(smoke("model=gan", "modality=image", "trainer.preview=8"))
    drawn = run.sample(200)
    frequency = torch.bincount(drawn.y, minlength=10) / 200
    assert (frequency - 0.1).abs().max() < 0.08
    assert (run.sample(5, y=3).y == 3).all()


def test_free_settings_do_not_change_the_signature_and_others_do():
    def name(*words: str) -> str:
        return signature(compose("train", list(words)))

    same = [
        ("study=x",), ("logger=wandb",), ("sampler=heun",), ("sampler.steps=7",),
        ("trainer.workers=9",), ("trainer.preview=1",), ("budget.samples=3",),
    ]  # fmt: skip
    other = [
        ("seed=1",), ("model.predict=eps",), ("optimizer.lr=1",), ("budget=smoke",),
        ("dataset=mnist",), ("net.denoiser.width=8",), ("trainer.precision=64-true",),
    ]  # fmt: skip
    assert {name(*words) for words in same} == {name()}
    assert len({name(), *(name(*words) for words in other)}) == 1 + len(other)


def test_an_unfinished_run_is_not_taken_for_a_finished_one(monkeypatch: pytest.MonkeyPatch):
    from aigc.lab import training

    config = compose("train", ["model=vae", "study=crash", *QUICK])
    with monkeypatch.context() as patch:
        patch.setattr(training, "finish", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config)
    run = RunDir.of(config)
    assert run.status["state"] == "failed" and "ZeroDivisionError" in run.status["reason"]
    (run / "leftover").write_text("of the crash")
    train(config)
    assert run.is_done and not (run / "leftover").exists()


@pytest.mark.slow
def test_two_processes_train_every_family():
    import subprocess
    import sys

    for family in FAMILIES:
        words = [f"model={family}", "strategy=ddp_cpu", "study=ddp", "budget.examples=320", *QUICK]
        command = [sys.executable, "-m", "aigc", "train", *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]
        assert aigc.load(result.stdout.strip().splitlines()[-1]).sample(2).ids.shape[0] == 2
