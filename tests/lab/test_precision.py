"""Mixed precision trains what 32 bits do, up to its rounding."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aigc.lab.run import load
from aigc.lab.sweeps.table import series
from aigc.runs import RunDir

LOSSES = {"gan": ("train/critic", "train/generator")}
FAMILIES = ("autoregressive", "diffusion", "vae", "gan")


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_follows_32_bits(smoke: Callable[..., Path], family: str):
    words = [f"model={family}", "modality=tabular", "dataset=wine", "budget.examples=320"]
    words += ["trainer.preview=0", "trainer.log_points=10"]
    half = smoke(*words, "study=bf16", "trainer=bf16", "trainer.validations=2")
    full = smoke(*words, "study=whole", "trainer.validations=2")
    assert RunDir(half).config["trainer"]["precision"] == "bf16-mixed"
    differ = False
    for name in LOSSES.get(family, ("train/loss", "val/loss")):
        a, b = (dict(series(RunDir(run), name)) for run in (half, full))
        assert a.keys() == b.keys() and len(a) >= 2
        for at in a:
            assert a[at] == pytest.approx(b[at], rel=0.03, abs=0.03), (name, at)
        differ |= a != b
    assert differ  # it was in 16 bits
    run = load(half)
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert run.sample(8).ids.shape == run.examples(8).ids.shape


@pytest.mark.parametrize(
    "words",
    [
        ["model=vqvae"],
        ["model=gan", "model.lecam=0.1"],
        ["model=text_gan", "modality=text", "model/estimator=reinforce"],
    ],
    ids=["vqvae", "lecam", "reinforce"],
)
def test_what_follows_means_does_so_in_32_bits(smoke: Callable[..., Path], words: list[str]):
    more = ["trainer=bf16", "study=means", "trainer.preview=0", "budget.examples=64"]
    assert RunDir(smoke(*words, *more)).is_done
