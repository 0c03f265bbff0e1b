"""The health panel: silent on real data, loud on a generator that gives one thing."""

import csv

import pytest
import torch

import aigc
from aigc.lab.conf import compose
from aigc.lab.health import collapse, examine
from aigc.lab.training import train

WORDS = ["model=gan", "modality=tabular", "dataset=ring", "budget=smoke", "trainer.preview=0"]


def points(n: int, modes: int, seed: int) -> torch.Tensor:
    """A ring of 8, of which only the first modes are there."""
    generator = torch.manual_seed(seed)
    angle = torch.randint(0, modes, (n,), generator=generator) * torch.pi / 4
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    return (ring + 0.05 * torch.randn(n, 2, generator=generator)).double()


def test_the_alarm_knows_collapse_from_data():
    ref, real = points(256, 8, 0), examine(points(256, 8, 0), points(256, 8, 1))
    assert collapse(real, real) is None and real["spread"] == pytest.approx(1, abs=0.1)
    constant = ref[:1] + 1e-3 * points(256, 8, 2)
    assert "vary by" in collapse(examine(ref, constant), real)
    away = 1.5 + 0.5 * points(256, 8, 3)  # spread, and nowhere near
    assert "lost" in collapse(examine(ref, away), real)
    half = examine(ref, points(256, 4, 4))  # half of the modes: worse, and no collapse
    assert collapse(half, real) is None
    assert half["coverage"] < 0.7 and half["fd"] > 5 * real["fd"]


def log_of(run) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in csv.DictReader((run.dir / "log.csv").open()):
        values.setdefault(row["name"], []).append(float(row["value"]))
    return values


def test_a_generator_that_gives_one_thing_is_told_once_and_kept(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    from aigc.families.gan.module import GAN

    whole = GAN.generate
    monkeypatch.setattr(GAN, "generate", lambda self, z, y: 0 * whole(self, z, y))
    run = aigc.load(train(compose("train", [*WORDS, "study=one", "trainer.validations=4"])).path)
    assert "collapsed at" in run.dir.status["alarm"] and "vary by" in run.dir.status["alarm"]
    assert capsys.readouterr().err.count("collapsed at") == 1
    log = log_of(run)
    assert log["val/collapsed"][-3:] == [1, 1, 1] and max(log["val/spread"]) < 0.01
    assert {"val/fd", "val/recall", "val/coverage", "val/critic_gap"} <= set(log)


def test_the_best_weights_by_fd_are_those_of_the_lowest_in_the_log():
    words = [*WORDS, "study=best", "trainer.validations=4", "trainer.keep=best_fd"]
    run = aigc.load(train(compose("train", words)).path)
    best = min(log_of(run)["val/fd"])
    store = run.store
    held = store.examples("validation", 256)[0]
    from aigc.metrics.features import RandConv, dims_for

    field = store.codec.field
    extractor = RandConv(field(store.examples("train", 1024)[0]), dims_for(len(held)))
    ids = run.sample(len(held)).ids
    found = examine(extractor(field(held)), extractor(field(ids)))
    assert found["fd"] == pytest.approx(best, rel=1e-4)
