"""What searches draw, and what they tell their study."""

from collections import Counter
from pathlib import Path

import pytest

from aigc.core.errors import BadInput
from aigc.lab.sweeps.cells import Cell
from aigc.lab.sweeps.space import Choice, Interval, random_words, split

optuna = pytest.importorskip("optuna")
from optuna.trial import TrialState  # noqa: E402

from aigc.lab.sweeps.study import Search, opened  # noqa: E402

SPACE = {"x": Interval(0.0, 1.0), "n": Interval(1, 3, whole=True), "k": Choice(("a", "b"))}


def parsed(*words: str) -> tuple:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return split(OverridesParser.create().parse_overrides(list(words)))


def test_the_grammar_gives_distributions():
    fixed, space = parsed(
        "seed=3",
        "model=vae,gan",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
        "d=interval(0,1)",
        "w=int(interval(2,9))",
        "r=range(1,4)",
    )
    assert fixed == ["seed=3"]
    assert space == {
        "model": Choice(("vae", "gan")),
        "optimizer.lr": Interval(1e-4, 1e-2, log=True),
        "d": Interval(0.0, 1.0),
        "w": Interval(2, 9, whole=True),
        "r": Choice(("1", "2", "3")),
    }
    with pytest.raises(BadInput, match="nothing to search"):
        parsed("seed=3")
    with pytest.raises(BadInput, match=r"interval from 0.0 to 1.0 in the log"):
        parsed("a=tag(log,interval(0,1))")


def test_random_trials_are_a_function_of_seed_and_number():
    drawn = [random_words(SPACE | {"l": Interval(1e-4, 1e-2, log=True)}, 0, i) for i in range(400)]
    assert drawn[7] == random_words(SPACE | {"l": Interval(1e-4, 1e-2, log=True)}, 0, 7)
    counts = Counter(words["n"] for words in drawn)
    assert set(counts) == {"1", "2", "3"} and min(counts.values()) > 100
    assert sum(float(words["l"]) < 1e-3 for words in drawn) == pytest.approx(200, abs=40)
    assert all(0 <= float(words["x"]) < 1 for words in drawn)


def search(folder: Path, trials: int = 6, pruner: str | None = None, objectives=("val/loss",)):
    url = f"sqlite:///{folder / 'optuna.db'}"
    directions = ["minimize"] * len(objectives)
    study = opened(url, "s", directions, "tpe", 0, pruner, 1)

    def cell(chosen: dict[str, str]) -> Cell:
        config = {
            "model": {"name": "vae"}, "dataset": {"name": "digits"}, "trainer": {}, "budget": {},
            "study": "s", "seed": 0, **chosen,
        }  # fmt: skip
        return Cell([], config, chosen)

    watched = objectives[0] if pruner else None
    return Search(study, SPACE, trials, list(objectives), watched, cell)


def end(cell: Cell, state: str = "done", losses: str = "") -> Cell:
    cell.run.path.mkdir(parents=True, exist_ok=True)
    rows = losses or f"10,1.0,val/loss,{cell.labels['x']}\n"
    (cell.run / "log.csv").write_text(f"examples,seconds,name,value\n{rows}")
    (cell.run / "status.json").write_text('{"state": "done", "train_seconds": 3.0}')
    cell.state, cell.reason = state, "OutOfMemory" if state == "failed" else ""
    return cell


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))


def test_a_study_goes_on_where_it_was_interrupted(tmp_path: Path):
    first = search(tmp_path)
    cells = first.cells()
    a, b, c = next(cells), next(cells), next(cells)
    first.tell(end(a))
    first.tell(end(b, "failed"))
    first.tell(end(c, "stopped"))
    again = search(tmp_path)
    assert again.left() == 4
    asked = list(again.cells())
    assert len(asked) == 4 and asked[0].labels == c.labels  # the one that was cut off
    for cell in asked:
        again.tell(end(cell))
    assert again.left() == 0 and not list(again.cells())
    states = Counter(t.state for t in again.study.trials)
    assert states == {TrialState.COMPLETE: 5, TrialState.FAIL: 2}
    assert again.study.trials[1].user_attrs["reason"] == "OutOfMemory"
    assert again.best()[0].value == min(float(x.labels["x"]) for x in [a, *asked])


def test_trials_of_a_sweep_that_was_killed_are_asked_again(tmp_path: Path):
    first = search(tmp_path)
    gone, alive = (next(first.cells()) for _ in range(2))
    first.asked[id(gone)].set_user_attr("owner", f"{__import__('platform').node()} 99999999")
    first.asked[id(alive)].set_user_attr("owner", "elsewhere 1")
    again = search(tmp_path)
    assert len(again.take_over(everywhere=False)) == 1  # with another machine, left to it
    assert again.left() == 5
    assert next(again.cells()).labels == gone.labels
    assert not again.take_over(everywhere=True)


def test_what_looks_bad_is_pruned(tmp_path: Path):
    one = search(tmp_path, pruner="median")
    cells = one.cells()
    good = next(cells)
    end(good, losses="10,1,val/loss,0.2\n20,2,val/loss,0.1\n")
    assert not one.prune(good)
    one.tell(good)
    bad = end(next(cells), losses="10,1,val/loss,0.9\n")
    assert one.prune(bad) and not one.prune(bad)  # nothing new
    bad.state = "pruned"
    one.tell(bad)
    assert [t.state for t in one.study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert one.study.trials[0].intermediate_values == {10: 0.2, 20: 0.1}


def test_two_objectives_and_one_that_is_missing(tmp_path: Path):
    both = search(tmp_path, objectives=("val/loss", "seconds"))
    cells = both.cells()
    both.tell(end(next(cells)))
    assert both.study.trials[0].values[1] == 3.0 and len(both.best()) == 1
    odd = search(tmp_path / "b", objectives=("fd",))
    cell = end(next(odd.cells()))
    odd.tell(cell)
    assert cell.state == "failed" and "metrics need hydra.launcher.evaluate" in cell.reason
    with pytest.raises(BadInput, match="was begun with directions minimize: take another name"):
        search(tmp_path / "b", objectives=("fd", "seconds"))


def test_a_database_that_is_not_there_is_one_line():
    with pytest.raises(BadInput, match=r"hydra.sweeper.storage: nowhere"):
        opened("mysql+nodriver://me:secret@nowhere/x", "s", ["minimize"], "tpe", 0, None, 1)
