"""Run folders: states, rows, and paths that are none."""

import json
from pathlib import Path

import pytest

from aigc.runs import NotARun, RunDir


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
