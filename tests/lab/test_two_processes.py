"""Two processes train what one does: the same examples, the same noise, losses up to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aigc.lab.sweeps.table import series
from aigc.runs import RunDir

WORDS = ["budget=smoke", "trainer.validations=4", "trainer.preview=0", "budget.examples=320"]


def trained(*words: str) -> RunDir:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "aigc", "train", *words, *WORDS]
    result = subprocess.run(line, capture_output=True, text=True, timeout=300, env=env)
    assert result.returncode == 0, result.stderr
    return RunDir(result.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["autoregressive", "diffusion", "vae", "gan"])
def test_loss_curves_are_equal(family: str):
    one = trained(f"model={family}", "study=one")
    two = trained(f"model={family}", "study=two", "strategy=ddp_cpu")
    names = {line.split(",")[2] for line in (one / "log.csv").read_text().splitlines()[1:]}
    names &= {"train/loss", "val/loss", "train/critic", "train/generator", "val/score_real"}
    assert len(names) >= 2
    for name in names:
        a, b = series(one, name), series(two, name)
        assert [at for at, _ in a] == [at for at, _ in b]
        for (_, x), (_, y) in zip(a, b):
            assert x == pytest.approx(y, abs=1e-5, rel=1e-5), name
