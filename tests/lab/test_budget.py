"""Cells of a comparison are matched in what their budget is by."""

import pytest

from aigc.lab.conf import compose
from aigc.lab.costs import flops_per_example
from aigc.lab.run import load
from aigc.lab.sweeps.table import series
from aigc.lab.training import train
from aigc.runs import paid, signature

WORDS = ["budget=smoke", "trainer.validations=2", "trainer.preview=0", "study=budget"]


def test_a_budget_of_examples_renames_no_run():
    config = compose("train", [*WORDS, "model=vae"])
    old = {**config, "budget": {k: v for k, v in config["budget"].items() if k != "by"}}
    old["budget"].pop("amount")
    assert signature(config) == signature(old) and not paid(config)
    other = compose("train", [*WORDS, "model=vae", "budget.by=flops", "budget.amount=1e9"])
    assert signature(other) != signature(config)
    assert paid(other) == "matched 1e+09 training FLOPs"


@pytest.mark.parametrize("family", ["vae", "gan", "autoregressive"])
def test_flops(family: str):
    """Operations by the counter of the cost metrics, within a batch; attention counts."""
    words = [f"model={family}", "budget.by=flops", "budget.amount=1.5e9", "budget.batch_size=16"]
    run = load(train(compose("train", [*WORDS, *words])).path)
    each = flops_per_example(run.model, run.store, 16)
    assert run.dir.status["examples"] * each == pytest.approx(1.5e9, abs=8.01 * each)
    assert run.dir.status["budget"]["an_example"] == pytest.approx(each, rel=1e-6)


def test_seconds_are_those_of_training(smoke):
    words = ["model=vae", "modality=tabular", "budget.by=seconds", "budget.amount=1.5"]
    run = train(compose("train", [*WORDS, *words]))
    assert 1.5 <= run.status["train_seconds"] < 1.7
    losses = series(run, "val/loss")
    assert len(losses) >= 2 and losses[-1][0] == run.status["examples"]
    assert run.status["examples"] > 500


def test_seconds_go_on_after_an_interruption(monkeypatch):
    from aigc.lab.budget import Clock

    words = ["model=vae", "modality=tabular", "budget.by=seconds", "budget.amount=1.2"]
    config = compose("train", [*WORDS, *words, "trainer.save_every=512", "seed=1"])
    ends = Clock.on_train_batch_end

    def cut(self, *rest):
        ends(self, *rest)
        if self.log_.now > 0.8:
            raise RuntimeError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "on_train_batch_end", cut)
        with pytest.raises(RuntimeError, match="cut"):
            train(config)
    run = train(config)
    assert "resumed" in [row["event"] for row in run.rows("events.jsonl")]
    assert 1.2 <= run.status["train_seconds"] < 1.4


@pytest.mark.parametrize(
    ("family", "more", "amount"),
    [
        ("autoregressive", [], 60_000),
        ("vae", ["modality=tabular"], 60_000),
        ("diffusion", [], 300_000),
    ],
)
def test_parameters(family: str, more: list[str], amount: int):
    words = [f"model={family}", *more, "budget.by=params", f"budget.amount={amount}"]
    config = compose("train", [*WORDS, *words, "budget.examples=64"])
    run = train(config)
    assert run.status["parameters"] == pytest.approx(amount, rel=0.05)
    assert paid(run.config) == f"matched {amount} parameters"
    assert compose("train", [*WORDS, *words, "budget.examples=64"]) == config


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["budget.by=time"], "unknown budget.by 'time'"),
        (["budget.by=flops"], "budget.by=flops needs budget.amount"),
        (["budget.amount=3"], "budget.amount: for budget.by=seconds"),
        (["budget.by=flops", "budget.amount=10"], "a batch of 32 takes"),
        (["budget.by=seconds", "budget.amount=1", "strategy=ddp_cpu"], "one process"),
        (["budget.by=params", "budget.amount=700"], "the nearest is"),
    ],
)
def test_what_cannot_be_matched_is_one_line(aigc, words: list[str], told: str):
    code, _, err = aigc("train", "model=vae", "modality=tabular", *WORDS, *words)
    assert code == 2 and told in err and err.strip().count("\n") == 0, err


def test_rows_carry_what_was_matched(aigc):
    """Another protocol, and the page says so."""
    from aigc.analysis.compare import tables
    from aigc.analysis.load import collect

    words = ["model=vae", "modality=tabular", "study=rows"]
    one = train(compose("train", [*WORDS, *words]))
    two = train(compose("train", [*WORDS, *words, "budget.by=flops", "budget.amount=3e7"]))
    for run in (one, two):
        assert aigc("evaluate", f"run={run}", "n=64", "metrics=[fd,train_seconds]")[0] == 0
    by_metric = [{r["metric"]: r["protocol"] for r in run.rows()} for run in (one, two)]
    assert by_metric[1]["fd"] == by_metric[0]["fd"] + " matched 3e+07 training FLOPs"
    assert by_metric[1]["train_seconds"] == by_metric[0]["train_seconds"]
    (table,) = tables(collect([str(two)]))
    assert "All models: matched 3e+07 training FLOPs." in table.notes
    fd = next(c for c in table.columns if c.metric == "fd")
    real = next(line for line in table.references if line.name.startswith("Real"))
    assert not real.cells[fd].foreign
    (table,) = tables(collect([str(one), str(two)]))
    assert any("matched 3e+07" in note and "not ranked" in note for note in table.notes)


def test_a_batch_of_more_than_all_examples_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    words = ["model=vae", "modality=tabular", "budget=smoke", "trainer.validations=0"]
    run = train(compose("train", [*words, "budget.examples=64", "budget.batch_size=100"]))
    told = "budget.batch_size=100 is more than budget.examples=64: one batch of 100 examples"
    assert told in capsys.readouterr().err
    assert run.status["examples"] == 100
