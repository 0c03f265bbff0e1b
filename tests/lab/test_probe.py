"""Metrics during training: of the average and of the raw weights, to keep and to stop by."""

import csv

import pytest

import aigc
from aigc.core.errors import BadInput
from aigc.lab.conf import compose
from aigc.lab.probe import WORST, badness, kept_metric, wanted
from aigc.lab.training import train
from aigc.metrics.registry import METRICS, Evidence

WORDS = ["model=vae", "modality=tabular", "dataset=ring", "budget=smoke", "trainer.preview=0"]


def log_of(run) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in csv.DictReader((run.dir / "log.csv").open()):
        values.setdefault(row["name"], []).append(float(row["value"]))
    return values


def test_the_best_by_a_metric_is_kept_and_raw_weights_are_told_apart():
    words = [*WORDS, "study=probe", "trainer.validations=4", "probe=[fd]"]
    words += ["trainer.keep=best_coverage"]
    run = aigc.load(train(compose("train", words)).path)
    log = log_of(run)
    assert {"val/probe_fd", "val/probe_fd_raw", "val/probe_coverage"} <= set(log)
    assert log["val/probe_kept"] == [-v for v in log["val/probe_coverage"]]
    assert log["val/probe_fd"] != log["val/probe_fd_raw"]
    from aigc.metrics.features import RandConv, dims_for

    store, field = run.store, run.store.codec.field
    held = store.examples("validation", 256)[0]
    extractor = RandConv(field(store.examples("train", 1024)[0]), dims_for(len(held)))
    gen = extractor(field(run.sample(len(held)).ids))
    found = METRICS["coverage"].fn(Evidence("tabular", gen, extractor(field(held))))
    assert found == pytest.approx(max(log["val/probe_coverage"]), abs=0.01)


def test_training_stops_by_what_is_kept():
    """Precision of a table of two columns does not rise at every validation."""
    words = [*WORDS, "study=stop", "trainer.validations=20", "trainer.keep=best_precision"]
    run = aigc.load(train(compose("train", [*words, "trainer.patience=1"])).path)
    kept = log_of(run)["val/probe_kept"]
    assert len(kept) < 20 and kept[-1] >= min(kept[:-1])


def test_names_are_checked_before_anything_is_trained():
    config = compose("train", [*WORDS, "trainer.keep=best_coverag"])
    with pytest.raises(BadInput, match=r"unknown trainer.keep 'best_coverag'.*best_coverage"):
        train(config)
    with pytest.raises(BadInput, match="unknown metric to probe 'psnr'"):
        train(compose("train", [*WORDS, "probe=[psnr]"]))
    with pytest.raises(BadInput, match="say what to stop by"):
        train(compose("train", ["model=gan", "modality=image", "trainer.patience=2"]))
    config = compose("train", [*WORDS, "trainer.keep=best_fd", "probe=[kid,fd]"])
    assert wanted(config) == ["kid", "fd"] and kept_metric("best") is None


def test_badness_follows_the_direction():
    names = ("fd", "coverage", "nn_ratio")
    assert [badness(METRICS[name], 0.25) for name in names] == [0.25, -0.25, 0.75]
    assert badness(METRICS["fd"], None) == WORST


def test_a_quick_evaluation_is_a_protocol_of_its_own(smoke):
    run = aigc.load(smoke("model=vae", "study=quick", "trainer.preview=0"))
    full = aigc.evaluate(run, "metrics=[kid]", "n=300")
    rows = aigc.evaluate(run, "metrics=[kid]", "n=quick")
    assert len(rows) == 2 * len(full)  # beside each other
    assert [" quick" in row["protocol"] for row in rows] == [False] * 2 + [True] * 2
    references = run.dir.rows("references.jsonl")
    assert sum(" quick" in row["protocol"] for row in references) == len(references) / 2
    with pytest.raises(BadInput, match="n=fast: a number of examples, or quick"):
        aigc.evaluate(run, "n=fast")
    from aigc.analysis.compare import tables
    from aigc.analysis.load import Record

    (table,) = tables([Record(run.dir)])
    assert all(not cell.foreign for cell in table.models[0].cells.values())
    assert (run.dir / "samples").exists() and list(run.dir.path.glob("samples/*/nearest/0"))
