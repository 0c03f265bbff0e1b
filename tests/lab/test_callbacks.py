"""The average, the log and the progress line say what they should."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aigc.lab.build import lr_schedule
from aigc.lab.callbacks import EMA, Log, Progress, reseed
from aigc.lab.conf import compose


def test_the_average_rises_to_its_decay():
    ema = EMA(0.9)
    averaged, value = [torch.zeros(1)], 0.0
    for n in range(1, 40):
        ema._average(averaged, [torch.ones(1)], torch.tensor(n))
        decay = min(0.9, (1 + n) / (10 + n))
        value = decay * value + (1 - decay)
        assert averaged[0].item() == pytest.approx(value, abs=1e-6)


def loop(log: Log, steps: int, progress: Progress | None = None) -> None:
    trainer = SimpleNamespace(
        is_global_zero=True, world_size=1, loggers=[], callback_metrics={}, should_stop=False
    )
    for callback in filter(None, (log, progress)):
        callback.on_train_start(trainer, None)
    for i in range(steps):
        module = SimpleNamespace(logs={"loss": torch.tensor(float(i))})
        for callback in filter(None, (log, progress)):
            callback.on_train_batch_end(trainer, module, None, None, i)


def test_the_log_holds_means_by_examples_seen(tmp_path: Path):
    log = Log(tmp_path / "log.csv", batch_size=10, batches=10, points=2)
    loop(log, 10)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [(r["examples"], r["name"], float(r["value"])) for r in rows] == [
        ("50", "train/loss", 2.0),
        ("100", "train/loss", 7.0),
    ]
    assert float(rows[1]["seconds"]) >= float(rows[0]["seconds"])


def test_without_a_terminal_progress_is_ten_lines(tmp_path: Path, capsys: pytest.CaptureFixture):
    log = Log(tmp_path / "log.csv", batch_size=4, batches=100, points=100)
    loop(log, 100, Progress(log, "a run", batch_size=4, batches=100))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("a run  400/400") and "train/loss 99.000" in lines[-1]


def test_reseeding_is_manual_seed():
    torch.manual_seed(77)
    wanted = torch.rand(3)
    reseed(77, torch.device("cpu"))
    assert torch.equal(torch.rand(3), wanted)


def test_the_learning_rate_rises_and_falls_by_share_of_the_budget():
    config = compose("train", ["budget.examples=3200", "budget.batch_size=32"])  # 100 steps
    factor = lr_schedule(config)
    assert [factor(s) for s in (0, 4)] == pytest.approx([0.2, 1.0], abs=0.01)
    assert factor(50) == pytest.approx(0.51, abs=0.01) and factor(100) == pytest.approx(0.02)
    config["trainer"]["decay"] = "constant"
    assert lr_schedule(config)(99) == 1.0
