"""Run folders: states, rows, and paths that are none."""

import json
from pathlib import Path

import pytest

from aigc.runs import NotARun, RunDir, signature


def test_a_run_goes_from_new_to_done(tmp_path: Path):
    run = RunDir(tmp_path / "study" / "one")
    assert run.status == {"state": "new"} and not run.is_done
    run.start({"a": 1}, {"b": 2})
    assert run.config == {"a": 1}
    with pytest.raises(NotARun, match="the run is running, not done"):
        RunDir.finished(run.path)
    run.mark("running", examples=5)
    run.mark("done")
    assert RunDir.finished(run.path).status["examples"] == 5
    run.start({"a": 3}, {})
    assert not run.is_done and run.config == {"a": 3}


def test_rows_are_replaced_by_key_and_written_whole(tmp_path: Path):
    run = RunDir(tmp_path)
    row = {"metric": "fd", "extractor": "x", "sampler": "s", "nfe": 1, "seed": 0, "protocol": "p"}
    run.add_rows([{**row, "value": 1}, {**row, "seed": 1, "value": 2}])
    run.add_rows([{**row, "value": 3}])
    assert [(r["seed"], r["value"]) for r in run.rows()] == [(0, 3), (1, 2)]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    for line in (tmp_path / "results.jsonl").read_text().splitlines():
        json.loads(line)


def test_near_matches_of_a_path(tmp_path: Path):
    run = RunDir(tmp_path / "study" / "vae-digits-s0-1234")
    run.start({}, {})
    run.mark("done")
    with pytest.raises(NotARun, match=r"did you mean .*vae-digits-s0-1234"):
        RunDir.finished(tmp_path / "study" / "vae-digits-s0-1235")
    with pytest.raises(NotARun, match="it holds runs, such as"):
        RunDir.finished(tmp_path / "study")


@pytest.mark.fault(19)
def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path):
    run = RunDir(tmp_path / "s" / "a")
    with (
        run.held(),
        pytest.raises(NotARun, match=r"a is being trained by process \d+ on "),
        RunDir(tmp_path / "s" / "a").held(),
    ):
        pass
    with run.held():
        pass


def test_results_are_never_removed(tmp_path: Path):
    run = RunDir(tmp_path / "s" / "a")
    run.start({"model": {}}, {})
    run.add_rows([{"metric": "fd", "value": 1.0}])
    (run / "status.json").write_text("")
    with pytest.raises(NotARun, match="holds results and no readable status"):
        run.start({"model": {}}, {})
    assert len(run.rows()) == 1


@pytest.mark.parametrize(
    "name, text, match",
    [
        ("config.yaml", "a: [", "cannot be read"),
        ("config.yaml", "- 1", "is not the configuration of a run"),
        ("results.jsonl", '{"metric": "f', "holds a line that is no row"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str, match: str):
    run = RunDir(tmp_path / "s" / "a")
    run.start({"model": {}}, {})
    (run / name).write_text(text)
    with pytest.raises(NotARun, match=match):
        _ = run.config, run.rows()


def test_a_setting_that_is_off_does_not_rename_a_run():
    old = {"model": {"name": "vae"}, "dataset": {"name": "digits"}, "seed": 0}
    old |= {"trainer": {"workers": 2, "patience": None}, "budget": {"examples": 5}}
    off = {**old, "augment": None, "dataset": {"name": "digits", "imbalance": None}}
    assert signature(off) == signature(old)
    assert signature({**old, "augment": "flip"}) != signature(old)
    assert signature({**old, "dataset": {"name": "digits", "imbalance": 9}}) != signature(old)


def test_a_run_to_start_from_counts_by_its_name():
    old = {"model": {"name": "vae"}, "dataset": {"name": "digits"}, "seed": 0}
    old |= {"trainer": {}, "budget": {}}
    names = {signature({**old, "init": p}) for p in ("a/vae-s0-1", "b/c/vae-s0-1/", "vae-s0-2")}
    assert len(names) == 2 and signature(old) not in names


def test_a_secret_reaches_no_file(tmp_path: Path):
    run = RunDir(tmp_path / "s" / "a")
    config = {
        "logger": {"wandb": {"api_key": "hunter2", "project": "p"}},
        "net": {"token_denoiser": {"_target_": "kept"}},
        "more": [{"hf_token": "hunter2"}, {"password": "hunter2", "tokens": "kept"}],
    }
    command = (
        "aigc train net/token_denoiser=kept +logger.wandb.api_key=hunter2 x.token=hunter2 seed=1"
    )
    run.start(config, {"command": command, "versions": {"tokenizers": "1"}})
    written = "".join(f.read_text() for f in run.path.rglob("*") if f.is_file())
    assert "hunter2" not in written and written.count("kept") == 3 and "seed=1" in written
    assert run.config["logger"]["wandb"] == {"api_key": "[redacted]", "project": "p"}
