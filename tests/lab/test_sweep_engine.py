"""Cells come to their end whatever happens to them; no process is started here."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from aigc.core.errors import BadInput
from aigc.lab.sweeps import slots as slots_
from aigc.lab.sweeps.cells import Cell, labels_of, tail
from aigc.lab.sweeps.engine import Engine, unfinished
from aigc.lab.sweeps.screen import Screen, clock
from aigc.lab.sweeps.slots import Slots, counted, not_a_rank, one_process_each, slots
from aigc.lab.sweeps.table import rows_of

CONFIG = {
    "model": {"name": "vae"},
    "dataset": {"name": "digits"},
    "trainer": {"accelerator": "auto"},
    "budget": {"examples": 100},
    "strategy": {"name": "auto", "devices": 1, "nodes": 1},
}


def cell(study: str, seed: int = 0, **strategy) -> Cell:
    plan = CONFIG["strategy"] | strategy
    config = {**CONFIG, "study": study, "seed": seed, "strategy": plan}
    return Cell([f"seed={seed}"], config, {"seed": str(seed)})


class FakeJob:
    """Takes a few looks and then does something."""

    def __init__(self, act: Callable[[], int], looks: int = 1):
        self.act, self.looks, self.told = act, looks, False

    def poll(self) -> int | None:
        if self.told:
            return 143
        self.looks -= 1
        return None if self.looks > 0 else self.act()

    def stop(self) -> None:
        self.told = True

    kill = stop


class FakePlace:
    """What each command of a seed does, in turn."""

    def __init__(self, **acts: list[Callable[[Path], int]]):
        self.acts, self.started, self.most, self.jobs = acts, [], 0, []

    def start(self, words, log, env, ranks) -> FakeJob:
        self.started.append((words, env))
        run = Path(log).parents[2] / Path(log).stem
        act = self.acts[words[-1].replace("=", "")].pop(0)
        job = FakeJob(lambda: act(run), looks=3 if act is not forever else 10**9)
        self.jobs = [j for j in self.jobs if j.looks > 0] + [job]
        self.most = max(self.most, len(self.jobs))
        return job

    def close(self) -> None:
        pass


def status(run: Path, text: str) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "status.json").write_text(text)


def done(run: Path) -> int:
    status(run, '{"state": "done", "train_seconds": 1.5}')
    (run / "log.csv").write_text("examples,seconds,name,value\n100,1.5,val/loss,0.25\n")
    return 0


def diverged(run: Path) -> int:
    status(run, '{"state": "failed", "failed_at": 9e9, "reason": "FloatingPointError: nan"}')
    return 1


def crashed(run: Path) -> int:
    return -9


def forever(run: Path) -> int:
    raise AssertionError("it does not end by itself")


def mistaken(run: Path) -> int:
    with (run.parent / ".sweep" / "logs" / f"{run.name}.log").open("a") as file:
        file.write("aigc: seed: at least 0\n")
    return 2


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    monkeypatch.setattr("aigc.lab.sweeps.engine.PAUSE", 0.001)
    return "s"


def run(place: FakePlace, cells: list[Cell], jobs: int = 2, judge=None, **hooks) -> None:
    engine = Engine(place, Slots(jobs, 1), Screen("s", len(cells)), retries=1, judge=judge)
    for name, hook in hooks.items():
        setattr(engine, name, hook)
    engine.run(cells)


def test_each_cell_ends_as_it_should(study: str, capsys: pytest.CaptureFixture):
    cells = [cell(study, i) for i in range(6)]
    done(cells[0].run.path)
    place = FakePlace(
        seed1=[done],
        seed2=[crashed, done],
        seed3=[crashed, crashed, done],
        seed4=[diverged, done],
        seed5=[mistaken, done],
    )
    run(place, cells)
    assert [c.state for c in cells] == ["done", "done", "done", "failed", "failed", "failed"]
    assert [c.tries for c in cells] == [0, 1, 2, 2, 1, 1]
    assert cells[3].reason == "killed by signal 9"
    assert cells[4].reason == "FloatingPointError: nan"
    assert cells[5].reason == "seed: at least 0"
    assert len(unfinished(cells)) == 3 and place.most == 2
    err = capsys.readouterr().err
    assert "3 of 6 done (1 before), 3 failed" in err
    assert "failed  seed=3: killed by signal 9 (2 tries, " in err
    rows = {row.labels["seed"]: row for row in rows_of(cells[0].run.path.parent)}
    assert [rows[str(i)].state for i in range(6)] == [c.state for c in cells]
    assert rows["1"].values == {"val/loss": 0.25} and rows["1"].seconds == 1.5
    assert rows["5"].reason == "seed: at least 0"


def test_the_same_sweep_again_does_only_what_is_missing(study: str):
    run(FakePlace(seed0=[done], seed1=[mistaken]), [cell(study, 0), cell(study, 1)])
    place = FakePlace(seed1=[done])
    cells = [cell(study, 0), cell(study, 1)]
    run(place, cells)
    assert [words for words, _ in place.started] == [["train", "seed=1"]]
    assert not unfinished(cells)


def test_ctrl_c_stops_the_cells_and_leaves_the_rest(study: str):
    def interrupt(run: Path) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return done(run)

    cells = [cell(study, i) for i in range(4)]
    before = signal.getsignal(signal.SIGINT)
    place = FakePlace(seed0=[interrupt], seed1=[forever], seed2=[done], seed3=[done])
    with pytest.raises(KeyboardInterrupt):
        run(place, cells)
    assert signal.getsignal(signal.SIGINT) is before
    assert [c.state for c in cells] == ["done", "stopped", "waiting", "waiting"]


def test_a_cell_is_pruned_and_the_others_go_on(study: str):
    cells = [cell(study, i) for i in range(3)]
    told = []
    hooks = {"watch": lambda c: c is cells[1], "ended": lambda c: told.append(c.state)}
    run(FakePlace(seed0=[done], seed1=[done], seed2=[done]), cells, **hooks)
    assert [c.state for c in cells] == ["done", "pruned", "done"]
    assert sorted(told) == ["done", "done", "pruned"] and not unfinished(cells)


def test_finished_cells_are_judged(study: str):
    cells = [cell(study, 0)]

    def rows(run: Path) -> int:
        (run / "results.jsonl").write_text('{"metric": "fd", "value": 2.0}\n')
        return 0

    place = FakePlace(seed0=[done], n4=[rows])
    run(place, cells, judge=["n=4"])
    assert place.started[1][0] == ["evaluate", f"run={cells[0].run}", "n=4"]
    assert cells[0].state == "done" and cells[0].tries == 1
    run(FakePlace(), [cell(study, 0)], judge=["n=4"])
    assert rows_of(cells[0].run.path.parent)[0].values["fd"] == 2.0


def test_a_cell_that_somebody_else_trains_is_waited_for(study: str):
    mine = cell(study, 0)
    mine.run.path.mkdir(parents=True)
    status(mine.run.path, '{"state": "running"}')
    with mine.run.held():
        looks = iter([False, False, True, False])
        other = mine.run.path

        class Watcher(Screen):
            def show(self, running: list[Cell]) -> None:
                assert not running
                if next(looks):
                    done(other)

        Engine(FakePlace(), Slots(1, 1), Watcher("s", 1), 1, None).run([mine])
    assert mine.state == "done" and mine.tries == 0


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slots_, "gpus", lambda: ["0", "1"])
    monkeypatch.setattr(slots_, "cores", lambda: 8)
    both, one = cell("s", 0, name="ddp", devices="auto"), cell("s", 1)
    found = slots([one], None, None, per_device=2)
    assert found.jobs == 4 and found.threads == 2
    taken = [found.take(one) for _ in range(4)]
    assert sorted(taken) == [["0"], ["0"], ["1"], ["1"]] and taken[0] != taken[1]
    assert found.take(one) is None
    found.give(["1"])
    assert found.take(one) == ["1"]
    assert slots([both], None, None, 1).jobs == 1
    assert slots([both], None, None, 1).take(both) == ["0", "1"]
    with pytest.raises(BadInput, match=r"jobs=2, or let cells share one by .*per_device=2"):
        slots([one], 4, None, 1)
    with pytest.raises(BadInput, match="devices=3, and there are 2 GPUs here"):
        slots([cell("s", 2, name="ddp", devices=3)], None, None, 1)
    monkeypatch.setattr(slots_, "gpus", lambda: [])
    assert slots([one], None, None, 1).jobs == 8
    assert slots([cell("s", 3, name="ddp_cpu", devices=2)], None, None, 1).jobs == 4


def test_pairs_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadInput, match="use hydra/launcher=process"):
        one_process_each([cell("s", 0, name="ddp_cpu", devices=2)], "joblib")
    with pytest.raises(BadInput, match="devices=N"):
        counted([cell("s", 0, name="ddp", devices="auto")], "ray")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(BadInput, match="start a sweep once"):
        not_a_rank()


def test_labels_are_what_differs():
    words = [["model=vae", "seed=0", "budget=smoke"], ["model=gan", "seed=0", "budget=smoke"]]
    assert labels_of(words) == [{"model": "vae"}, {"model": "gan"}]
    assert labels_of(words[:1]) == [{}]


def test_the_end_of_a_file_is_whole_lines(tmp_path: Path):
    file = tmp_path / "log.csv"
    assert tail(file) == []
    file.write_text("".join(f"{i},line\n" for i in range(2000)) + "2000,ha")
    lines = tail(file)
    assert lines[-1] == "1999,line" and all(line.endswith(",line") for line in lines)
    assert (clock(7.4), clock(750), clock(11100)) == ("0:07", "12:30", "3:05:00")
