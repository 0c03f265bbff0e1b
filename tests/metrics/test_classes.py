"""Metrics by class: closed forms, and rows that the comparison can take."""

import pytest
import torch

import aigc
from aigc.analysis.compare import tables
from aigc.analysis.load import Record
from aigc.core.errors import BadInput
from aigc.lab.judge import Judge
from aigc.metrics.classes import of_class, rarest
from aigc.metrics.registry import METRICS, Evidence
from aigc.metrics.structure import prdc
from aigc.runs import RunDir


def clouds(n: int, shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes in a plane, 10 apart; that of label 2 is moved by `shift`."""
    y = torch.arange(n) % 3
    x = torch.randn(n, 2, generator=torch.manual_seed(seed)).double()
    x[:, 0] += 10 * y + shift * (y == 2)
    return x, y


def evidence(shift: float = 0.0, keep_tail: int = 4) -> Evidence:
    (gen, gen_y), (ref, ref_y), (train, train_y) = (
        clouds(300, s, seed) for s, seed in ((shift, 0), (0.0, 1), (0.0, 2))
    )
    few = (train_y != 2) | (torch.arange(300) < 3 * keep_tail)
    labels = {"gen_y": gen_y, "ref_y": ref_y, "train_y": train_y[few]}
    return Evidence("image", gen, ref, train[few], dims=2, **labels)


def test_the_tail_is_the_rarest_third():
    y = torch.repeat_interleave(torch.arange(6), torch.tensor([50, 3, 40, 0, 30, 20]))
    assert rarest(y, 6) == [3, 1]
    assert rarest(y[:1], 2) == [1]
    assert rarest(y, 10) == [3, 6, 7]  # classes beyond the last label have no examples


def test_the_tail_is_judged_against_itself():
    one = evidence()
    tail = METRICS["tail_recall"].fn(one)
    assert tail == prdc(one.ref[one.ref_y == 2], one.gen[one.gen_y == 2])["recall"] > 0.8
    assert METRICS["tail_coverage"].fn(one) == prdc(one.ref[2::3], one.gen[2::3])["coverage"]
    assert METRICS["tail_recall"].fn(evidence(shift=30.0)) == 0  # the head is as good as ever
    assert of_class(one, 0).gen.shape == (100, 2)


def test_what_a_classifier_gains():
    one = evidence(keep_tail=0)
    assert METRICS["accuracy_synthetic"].fn(one)[0] > 0.99
    real, sd = METRICS["accuracy_real"].fn(one)
    assert real == pytest.approx(2 / 3, abs=0.01)  # it has never seen the third class
    assert sd == pytest.approx((real * (1 - real) / 300) ** 0.5)
    assert METRICS["accuracy_gain"].fn(one) == pytest.approx(1 / 3, abs=0.01)


def test_rows_by_class_of_a_run_and_its_table(smoke):
    run = aigc.load(smoke("model=vae", "study=classes", "dataset.imbalance=5", "trainer.preview=0"))
    plain = len(aigc.evaluate(run, "n=60", "metrics=[fd]"))
    rows = aigc.evaluate(run, "n=300", "by_class=true")
    new = rows[plain:]
    own = [row for row in new if row.get("class") is None]
    assert {row["metric"] for row in own} == {m.name for m in METRICS.values() if m.by_class}
    assert all(row["status"] == "ok" and "by class" in row["protocol"] for row in own)
    recall = [row for row in new if row["metric"] == "recall" and "pca" in row["extractor"]]
    assert [row["class"] for row in recall] == list(range(10))
    assert len({row["protocol"] for row in recall}) == 10
    tail = next(r for r in own if r["metric"] == "tail_recall" and "pca" in r["extractor"])
    assert tail["value"] == pytest.approx(sum(r["value"] for r in recall[7:]) / 3)
    again = aigc.evaluate(run, "n=300", "by_class=true")
    assert [r["value"] for r in again] == [r["value"] for r in rows]

    (table,) = tables([Record(RunDir(run.dir.path))])
    titles = [column.title.split()[0] for column in table.columns]
    assert "tail_recall" in titles and titles.count("fd") == 2 and "recall" not in titles
    (real,) = [line for line in table.references if line.family == "real"]
    assert any(column.metric == "tail_recall" for column in real.cells)


def test_data_without_classes_are_one_line(smoke):
    run = aigc.load(smoke("model=vae", "modality=text", "trainer.preview=8"))
    with pytest.raises(BadInput, match="by_class=true: pydoc has no classes"):
        aigc.evaluate(run, "by_class=true")


def test_a_label_that_is_a_column_too_is_not_read(smoke):
    run = aigc.load(smoke("model=vae", "modality=tabular", "dataset=breast_cancer"))
    rows = aigc.evaluate(run, "by_class=true", "extractors=[raw,clf]")
    real = {r["extractor"].split("@")[0]: r for r in rows if r["metric"] == "accuracy_real"}
    assert all("accuracy_real@2" in row["protocol"] for row in real.values())
    (clf,) = [name for name in real if name.startswith("clf")]
    assert 0.85 < real["raw32"]["value"] < 1 and clf.split("-")[1] != "100%"

    judge = Judge(run.store, 64, ["raw", "clf"], names=["fd"])
    other = judge.ref.clone()
    other[:, -1] = 1 - other[:, -1]  # the other diagnosis
    raw, clf = judge.evidence(other).values()
    assert not torch.equal(raw.gen, raw.ref) and torch.allclose(clf.gen, clf.ref)
    blind, _ = judge.blind(other).values()
    assert torch.equal(blind[0], blind[1]) and not torch.equal(blind[1], raw.ref)
