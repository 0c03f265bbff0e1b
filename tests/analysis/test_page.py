"""The page and what goes with it: lines by settings, a baseline, neighbours, commands, its size."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_compare import config, only, row, run

from aigc.analysis import report
from aigc.analysis.baseline import find, gaps
from aigc.analysis.compare import tables
from aigc.analysis.export import signed
from aigc.analysis.frontier import frontier
from aigc.analysis.load import collect
from aigc.analysis.media import fitting
from aigc.core.errors import BadInput
from aigc.runs import RunDir, shown_folder

ENV = {"command": "aigc train seed=0", "versions": {"aigc": "1", "torch": "2"}, "python": "3"}
ENV |= {"machine": "a machine", "gpu": None, "commit": "abc"}
STATUS = {"data": {"counts": {"train": 9}, "hash": "h", "class_names": []}, "examples": 9}


def whole(root: Path, name: str, family: str, seed: int, rows: list[dict], **more) -> RunDir:
    """A run with all that the page reads."""
    folder = RunDir(run(root, name, config(family, seed, **more), rows))
    (folder / "env.json").write_text(json.dumps(ENV))
    folder.mark("done", **STATUS)
    return folder


def test_lines_by_a_setting_average_over_the_others_and_say_so(tmp_path: Path):
    for i, (lr, width, value) in enumerate(((1, 8, 1.0), (1, 16, 3.0), (2, 8, 5.0))):
        run(tmp_path, f"r{i}", config("vae", 0, lr=lr, width=width), [row("fd", value)])
    records = collect([str(tmp_path)])
    table = only(tables(records, by=["model.lr"]))
    assert {line.title: line.cells[table.columns[0]].value for line in table.models} == {
        "VAE (lr=1)": 2.0,
        "VAE (lr=2)": 5.0,
    }
    assert "VAE (lr=1): a mean over runs that differ in model.width." in table.notes
    with pytest.raises(BadInput, match=r"unknown setting to compare by 'model.rl'.*model.lr"):
        tables(records, by=["model.rl"])


def test_differences_from_a_baseline_are_welchs(tmp_path: Path):
    from scipy.stats import ttest_ind

    values = {"vae": (1.0, 1.2, 1.1), "gan": (2.0, 2.4, 2.6), "diffusion": (1.1, 1.0, 1.3)}
    for family, own in values.items():
        for seed, value in enumerate(own):
            run(tmp_path, f"{family}{seed}", config(family, seed), [row("fd", value)])
    table = only(tables(collect([str(tmp_path / "*")])))  # a pattern
    found = gaps(table, find(table, "vae"))
    by_family = {table.models[i].family: gap for (i, _), gap in found.items()}
    wanted = ttest_ind(values["gan"], values["vae"], equal_var=False)
    low, high = wanted.confidence_interval()
    gap = by_family["gan"]
    assert (gap.value, gap.half) == pytest.approx(((low + high) / 2, (high - low) / 2))
    assert gap.p == pytest.approx(2 * wanted.pvalue) and gap.sure  # Holm: two tests
    assert set(by_family) == {"gan", "diffusion"} and not by_family["diffusion"].sure
    with pytest.raises(BadInput, match=r"unknown baseline 'van'.*did you mean 'vae'"):
        find(table, "van")
    assert [signed(0.0791, 0.1), signed(-12345.0), signed(0.0)] == ["+0.08", "-12.3 k", "+0"]


def test_samplers_of_one_model_are_a_curve(tmp_path: Path):
    speed = {"better": "high", "target": None, "axis": "cost", "extractor": None}
    for seed in range(2):
        rows = []
        for steps, fd in ((5, 3.0), (50, 1.0)):
            rows += [row("fd", fd + seed, sampler=f"ddim steps={steps}")]
            fast = {**row("fd", 100 / steps, sampler=f"ddim steps={steps}"), **speed}
            rows += [fast | {"metric": "samples_per_second", "protocol": "speed"}]
        whole(tmp_path, f"d{seed}", "diffusion", seed, rows)
    table = only(tables(collect([str(tmp_path)])))
    (axis,) = frontier(table).axes
    (curve,) = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_lw() == 1]
    assert sorted(curve.get_xdata()) == [0.05, 0.5] and set(curve.get_ydata()) == {1.5, 3.5}


def test_the_page_shows_neighbours_settings_and_commands(tmp_path: Path):
    for family in ("vae", "gan"):
        folder = whole(tmp_path / "s", family, family, 0, [row("fd", 1.0, n=100)], width=family)
        place = folder / "samples" / f"{shown_folder('ddim steps=5', 0)}-n100"
        (place / "nearest" / "0").mkdir(parents=True)
        for file in (place / "grid.png", place / "nearest" / "0" / "grid.png"):
            Image.new("L", (8, 8)).save(file)
        facts = {"extractor": "pca8@1", "n": 100, "distances": [0.1], "real_closest": 0.3}
        facts |= {"real_median": 0.5}
        (place / "nearest" / "nearest.json").write_text(json.dumps(facts))
    _, page = report.compare([str(tmp_path / "s")], baseline="vae")
    text = page.read_text()
    for said in (
        *("Closest to the training data", "<small>0.20</small>", "closest real example 0.60"),
        *("Settings that differ (2)", "<code>model.width</code>", "Beside VAE"),
        *("aigc train seed=0", "aigc evaluate run=DIR sampler=ddim sampler.steps=5 seed=0 n=100"),
    ):
        assert said in text, said
    assert "http://" not in text and "https://" not in text  # one file, no network
    kept = json.loads((page.parent / "compare.json").read_text())
    assert {r["run"] for r in kept["runs"]} == {"vae", "gan"} and kept["runs"][0]["env"] == ENV
    assert kept["lines"][0]["cells"][0]["values"] == [1.0]
    markdown = (page.parent / "compare.md").read_text().splitlines()
    assert markdown[0].startswith("| digits | FD ↓ pca") and markdown[2].startswith("| VAE |")


def test_a_page_of_a_hundred_runs_is_below_15_mb(tmp_path: Path):
    """Each line with a picture and sounds that are too large to keep as they are."""
    noise = np.random.RandomState(0).randint(0, 255, (640, 640, 3), "uint8")
    Image.fromarray(noise).save(tmp_path / "grid.png")
    for i in range(100):
        rows = [row("fd", 1.0 + i, n=100), row("c2st", 0.5 + i / 200)]
        folder = whole(tmp_path / "s", f"vae{i}", "vae", 0, rows, lr=i)
        place = folder / "samples" / f"{shown_folder('ddim steps=5', 0)}-n100"
        place.mkdir(parents=True)
        (place / "grid.png").symlink_to(tmp_path / "grid.png")
        (place / "00.wav").write_bytes(bytes(500_000))
    _, page = report.compare([str(tmp_path / "s")])
    assert 5e5 < page.stat().st_size < 15e6
    assert "The first 24 of 100 lines" in page.read_text()
    assert len(fitting(tmp_path / "grid.png", 200_000)) < 200_000
