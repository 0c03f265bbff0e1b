"""What is planned is what a run then has."""

import pytest

from aigc.lab.conf import compose
from aigc.lab.plan import commands, planned
from aigc.runs import RunDir

WORDS = ["budget=smoke", "trainer.validations=2"]


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_a_plan_knows_the_run(smoke, family: str):
    words = [f"model={family}", "trainer.preview=8"]
    cost = planned(compose("train", [*WORDS, *words]))
    run = RunDir(smoke(*words))
    assert cost.parameters == run.status["parameters"]
    file = (run / "checkpoints" / "model.safetensors").stat().st_size
    assert cost.disk == pytest.approx(file, rel=0.2)
    assert cost.memory > 2 * cost.disk and cost.peak_disk > 2 * cost.disk
    assert cost.flops > 2 * 3 * cost.parameters and cost.seconds > 0 and cost.speed > 0


def test_flops_grow_with_the_budget():
    words = ["model=vae", "modality=tabular"]
    config = compose("train", [*WORDS, *words, "budget.examples=32"])
    few = planned(config).flops
    config["budget"]["examples"] = 64
    assert planned(config).flops == 2 * few


def test_cells_of_a_grid(aigc):
    grid = commands(["model=vae,gan", "seed=0,1", "budget=smoke"], ["-m"])
    assert len(grid) == 4 and grid[1] == ["model=vae", "seed=1", "budget=smoke"]
    assert commands(["model=vae"], []) == [["model=vae"]]
    code, out, err = aigc("plan", "-m", "model=vae", "seed=0,1", *WORDS)
    assert code == 0, err
    assert "examples/s" in out and "2 cells, one after another" in out
    code, _, err = aigc("plan", "model=vea")
    assert code == 2 and "did you mean 'vae'" in err
