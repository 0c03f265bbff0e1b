"""README's section "Add your own" runs as it stands, and what it says of the choices is true."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from aigc.core.errors import BadInput
from aigc.data.datasets import all_datasets
from aigc.metrics.suite import METRICS

README = (Path(__file__).parents[1] / "README.md").read_text()
SECTION = README.split("## Add your own")[1].split("## Architecture")[0]
BLOCKS = re.findall(r"```(python|yaml|console)\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with the section's files; registries are left as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for kind, text in BLOCKS:
        if kind != "console":
            first, rest = text.split("\n", 1)
            path = tmp_path / first.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(rest)
    for registry in (all_datasets(), METRICS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_every_command_of_the_section_works(project: Path, aigc):
    commands = [
        line.removeprefix("$ aigc ").split()
        for kind, text in BLOCKS
        if kind == "console"
        for line in text.splitlines()
    ]
    assert len(commands) == 8
    run = ""
    for command in commands:
        code, out, err = aigc(*(word.replace("RUN", run) for word in command))
        assert code == 0, f"{command}: {err}"
        if command[0] == "train":
            run = out.strip().splitlines()[-1]
            assert (Path(run) / "results.jsonl").exists() is False
    assert "independent" in out
    rows = (Path(run) / "results.jsonl").read_text().splitlines()
    assert sum('"metric": "bits_per_dim"' in row for row in rows) == 1


def test_metrics_of_a_plugin_are_rows_like_others(project: Path, aigc):
    code, out, err = aigc("train", "model=vae", "modality=tabular", "budget=smoke", "study=plugin")
    assert code == 0, err
    run = out.strip().splitlines()[-1]
    code, _, err = aigc("evaluate", f"run={run}", "plugins=[mine]", "metrics=[mean_gap]")
    assert code == 0, err
    rows = (Path(run) / "results.jsonl").read_text().splitlines()
    assert len(rows) == 2 and all('"metric": "mean_gap"' in row for row in rows)


def test_every_task_knows_the_choices_of_the_users_folder(project: Path, aigc):
    own = ("--config-dir", "myconf")
    code, out, err = aigc("train", "model=gan", "modality=tabular", "budget=smoke", "study=sphere")
    run = out.strip().splitlines()[-1]
    code, out, _ = aigc("list", "samplers", *own)
    assert code == 0 and "sphere" in out and "truncation" in out
    code, out, _ = aigc("sample", "--help", *own)
    assert code == 0 and "sphere" in out
    asked = ("sampler=sphere", "plugins=[mine]", "n=32", "metrics=[fd]")
    code, _, err = aigc("evaluate", f"run={Path(run).parent}", *asked, *own)  # a study
    assert code == 0, err
    rows = (Path(run) / "results.jsonl").read_text().splitlines()
    assert rows and all('"sampler": "sphere radius=8.0"' in row for row in rows)
    code, _, err = aigc("sample", f"run={run}", "sampler=spher", *own)
    assert code == 2 and "did you mean 'sphere'" in err and "ddim" not in err  # the family's alone
    words = ("model=gan", "modality=tabular", "budget=smoke", "sampler=sphere", "plugins=[mine]")
    code, out, err = aigc("plan", *words, f"--config-dir={own[1]}")
    assert code == 0 and "gan-breast_cancer" in out, err
    load = import_module("aigc").load
    assert load(run, plugins=["mine"]).sampler("sphere", radius=2.0).radius == 2
    with pytest.raises(BadInput, match=r"unknown sampler 'sphera'.*did you mean 'sphere'"):
        load(run).sampler("sphera")

    code, out, _ = aigc("list", "samplers")  # and of no other command
    assert code == 0 and "sphere" not in out
    code, _, err = aigc("list", "samplers", "--config-dir", "nowhere")
    assert (code, err) == (2, "aigc: --config-dir needs a folder, and 'nowhere' is none\n")
