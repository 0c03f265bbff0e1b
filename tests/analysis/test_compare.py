"""What may be averaged and ranked with what, checked on run folders written by hand."""

from pathlib import Path

import pytest

from aigc.analysis.compare import Table, interval, tables
from aigc.analysis.export import latex, show_cell, write_csv
from aigc.analysis.load import collect
from aigc.analysis.significance import holm, welch
from aigc.core.errors import BadInput
from aigc.runs import NotARun, RunDir


def config(family: str, seed: int, dataset: str = "digits", **more) -> dict:
    return {
        "model": {"name": family, **more},
        "modality": {"name": "image"},
        "dataset": {"name": dataset},
        "seed": seed,
        "trainer": {},
        "budget": {},
        "study": "s",
    }


def row(metric: str, value: float | None, **more) -> dict:
    facts = {
        "fd": ("low", None, "fidelity"),
        "c2st": ("target", 0.5, "fidelity"),
        "bits_per_dim": ("low", None, "likelihood"),
    }
    better, target, axis = facts[metric]
    base = {
        "metric": metric, "value": value, "sd": 0.1, "n": 100, "n_ref": 100, "extractor": "pca@1",
        "kind": None, "sampler": "ddim steps=5", "nfe": 5, "seed": 0, "protocol": f"{metric} A",
        "status": "ok", "reason": None, "seconds": 0.0,
        "better": better, "target": target, "axis": axis,
    }  # fmt: skip
    return {**base, **more}


def run(root: Path, name: str, settings: dict, rows: list[dict], references=()) -> Path:
    folder = RunDir(root / name)
    folder.start(settings, {"command": "aigc train", "versions": {}})
    (folder / "log.csv").write_text(
        "examples,seconds,name,value\n1,0.1,train/loss,3\n2,0.2,train/loss,2\n2,0.2,val/loss,2.5\n"
    )
    folder.add_rows(rows)
    folder.add_rows(list(references), "references.jsonl")
    folder.mark("done", data={"counts": {"train": 1}}, space={"shape": [2]}, train_seconds=1)
    return folder.path


def only(found: list[Table]) -> Table:
    assert len(found) == 1
    return found[0]


def test_seeds_of_one_recipe_are_one_row_with_a_t_interval(tmp_path: Path):
    for seed, value in enumerate((1.0, 2.0, 3.0)):
        run(tmp_path, f"a{seed}", config("vae", seed), [row("fd", value)])
    table = only(tables(collect([str(tmp_path)])))
    (line,) = table.models
    (cell,) = line.cells.values()
    assert (cell.value, cell.seeds) == (2.0, 3)
    assert cell.half == pytest.approx(4.302652729911275 * 1 / 3**0.5)  # t(0.975, 2) sd / sqrt 3
    assert interval([5.0], 0.1) == (5.0, pytest.approx(0.196))
    assert interval([5.0], None) == (5.0, None)


def test_other_settings_and_samplers_are_other_rows(tmp_path: Path):
    run(tmp_path, "a", config("vae", 0), [row("fd", 1.0), row("fd", 2.0, sampler="heun steps=5")])
    run(tmp_path, "b", config("vae", 0, latent=3), [row("fd", 3.0)])
    assert len(only(tables(collect([str(tmp_path)]))).models) == 3


def test_the_best_of_a_column_is_marked_by_its_direction(tmp_path: Path):
    run(tmp_path, "a", config("vae", 0), [row("fd", 1.0), row("c2st", 0.9)])
    run(tmp_path, "b", config("gan", 0), [row("fd", 2.0), row("c2st", 0.45)])
    vae, gan = only(tables(collect([str(tmp_path)]))).models
    best = {(line.family, c.metric) for line in (vae, gan) for c, x in line.cells.items() if x.best}
    assert best == {("vae", "fd"), ("gan", "c2st")}


def test_another_protocol_is_shown_and_never_ranked_or_averaged(tmp_path: Path):
    run(tmp_path, "a0", config("vae", 0), [row("fd", 2.0)])
    run(tmp_path, "a1", config("vae", 1), [row("fd", 0.1, protocol="fd B n=9")])
    run(tmp_path, "b", config("gan", 0), [row("fd", 3.0)])
    run(tmp_path, "c", config("diffusion", 0), [row("fd", 0.2, protocol="fd B n=9")])
    table = only(tables(collect([str(tmp_path)])))
    (column,) = table.columns
    cells = {line.family: line.cells[column] for line in table.models}
    assert column.protocol == "fd A"
    assert cells["vae"].value == 2.0 and cells["vae"].seeds == 1
    assert cells["diffusion"].foreign and not cells["diffusion"].best
    assert cells["vae"].best
    assert any("fd B n=9" in note for note in table.notes)
    diffusion = next(line for line in table.models if line.family == "diffusion")
    assert show_cell(diffusion, column).endswith("†")


def test_bounds_and_exact_likelihoods_are_not_ranked(tmp_path: Path):
    bits = {"metric": "bits_per_dim", "extractor": None}
    run(tmp_path, "a", config("autoregressive", 0), [row(value=2.0, kind="exact", **bits)])
    run(tmp_path, "b", config("vae", 0), [row(value=1.0, kind="bound", **bits)])
    skipped = row(value=None, kind="none", status="skipped", reason="needs nats", **bits)
    run(tmp_path, "c", config("gan", 0), [skipped])
    table = only(tables(collect([str(tmp_path)])))
    (column,) = table.columns
    assert not any(line.cells[column].best for line in table.models if column in line.cells)
    texts = {line.family: show_cell(line, column) for line in table.models}
    assert texts["vae"].startswith("≤ ") and not texts["autoregressive"].startswith("≤")
    assert texts["gan"] == "–"
    assert (
        next(line for line in table.models if line.family == "gan").reasons[column] == "needs nats"
    )
    assert any("upper bounds" in note for note in table.notes)


def test_data_sets_are_compared_apart_and_references_once(tmp_path: Path):
    floor = [row("fd", 0.5, of="real"), row("fd", 9.0, of="marginals")]
    run(tmp_path, "a", config("vae", 0), [row("fd", 1.0)], floor)
    run(tmp_path, "b", config("vae", 1), [row("fd", 1.0)], floor)
    run(tmp_path, "c", config("vae", 0, "mnist"), [row("fd", 1.0)])
    first, second = tables(collect([str(tmp_path)]))
    assert (first.dataset, second.dataset) == ("digits", "mnist")
    assert [line.family for line in first.references] == ["real", "marginals"]
    assert not second.references
    write_csv([first], tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4
    assert latex(first).count(r"\\") == 4


def test_what_is_not_a_run_or_has_no_results_is_said(tmp_path: Path):
    with pytest.raises(NotARun, match="not a run folder"):
        collect([str(tmp_path / "no")])
    run(tmp_path, "a", config("vae", 0), [])
    with pytest.raises(BadInput, match="has no results yet"):
        collect([str(tmp_path / "a")])


def test_lines_of_one_family_say_in_what_they_differ(tmp_path: Path):
    run(tmp_path / "s", "a", config("vae", 0, lr=1e-3), [row("fd", 1.0)])
    run(tmp_path / "s", "b", config("vae", 0, lr=1e-4), [row("fd", 1.0)])
    table = only(tables(collect([str(tmp_path / "s")])))
    assert [line.title for line in table.models] == ["VAE (lr=0.001)", "VAE (lr=0.0001)"]
    assert not any(cell.best for line in table.models for cell in line.cells.values())  # a tie
    assert r"VAE (lr=0.001)" in latex(table)


def test_a_second_evaluation_is_no_second_training_seed(tmp_path: Path):
    rows = [row("fd", 1.0), row("fd", 3.0, seed=1)]
    run(tmp_path / "s", "a", config("vae", 0), rows)
    (line,) = only(tables(collect([str(tmp_path / "s")]))).models
    (cell,) = line.cells.values()
    assert (cell.value, cell.seeds, cell.half) == (2.0, 1, pytest.approx(1.96 * 0.1))


def test_runs_without_results_are_named(tmp_path: Path, capsys):
    run(tmp_path / "s", "a", config("vae", 0), [row("fd", 1.0)])
    run(tmp_path / "s", "b", config("gan", 0), [])
    assert len(collect([str(tmp_path / "s")])) == 1
    assert "left out, not judged yet: aigc evaluate run=" in capsys.readouterr().err


def test_metrics_that_are_not_shown_appear_when_asked_for(tmp_path: Path):
    rows = [row("fd", 1.0), row("c2st", 0.6, shown=False)]
    run(tmp_path / "s", "a", config("vae", 0), rows)
    records = collect([str(tmp_path / "s")])
    asked = [
        [c.metric for c in only(tables(records, m)).columns] for m in (None, ["all"], ["c2st"])
    ]
    assert asked == [["fd"], ["fd", "c2st"], ["c2st"]]
    with pytest.raises(BadInput, match="unknown metric in these results 'mauve'"):
        tables(records, ["mauve"])


def test_a_win_needs_two_extractors_that_agree(tmp_path: Path):
    def table_of(study: str, **values: tuple[float, float]) -> Table:
        for family, (a, b) in values.items():
            rows = [row("fd", a), row("fd", b, extractor="rc@2")]
            run(tmp_path / study, family, config(family, 0), rows)
        return only(tables(collect([str(tmp_path / study)])))

    table = table_of("s", vae=(1.0, 3.0), gan=(2.0, 2.0), diffusion=(3.0, 2.5))
    assert not any(cell.best for line in table.models for cell in line.cells.values())
    assert any("Kendall tau of -0.33" in note for note in table.notes)
    table = table_of("t", vae=(1.0, 1.5), gan=(2.0, 2.0), diffusion=(3.0, 2.5))
    best = {line.family for line in table.models if all(c.best for c in line.cells.values())}
    assert best == {"vae"}
    table = table_of("u", vae=(1.0, 2.0), gan=(2.0, 2.0), diffusion=(3.0, 2.0))  # a tie of all
    assert not any(cell.best for line in table.models for cell in line.cells.values())


def test_differences_are_tested_over_seeds_with_holms_correction(tmp_path: Path):
    for seed in range(3):
        for family, base in (("vae", 1.0), ("gan", 9.0), ("diffusion", 1.05)):
            value = base + 0.1 * seed
            run(tmp_path / "s", f"{family}{seed}", config(family, seed), [row("fd", value)])
    (note,) = [n for n in only(tables(collect([str(tmp_path / "s")]))).notes if "Welch" in n]
    assert "Of 3 differences" in note and "2 are significant" in note
    assert "VAE below GAN (fd pca)" in note and "VAE below Diffusion" not in note
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    # Student's t by hand: means 1 and 2, variances 1 and 1, n = 3, df = 4
    assert welch((0.0, 1.0, 2.0), (1.0, 2.0, 3.0)) == pytest.approx(0.2878641347266908)


def test_a_collapse_is_told(tmp_path: Path):
    run(tmp_path, "a", config("gan", 0), [row("fd", 1.0)])
    run(tmp_path, "b", config("gan", 1), [row("fd", 2.0)])
    RunDir(tmp_path / "b").mark("done", alarm="collapsed at 400 examples: recall 0 %")
    notes = only(tables(collect([str(tmp_path)]))).notes
    assert [n for n in notes if "collapsed" in n] == [
        "GAN: seed 1 collapsed at 400 examples: recall 0 %."
    ]


def test_an_estimate_below_zero_is_as_good_as_zero(tmp_path: Path):
    """KID is an unbiased estimate of a distance: the lowest of several noises is no winner."""
    for name, value in (("vae", -0.7), ("gan", -0.1), ("diffusion", 0.4)):
        run(tmp_path, name, config(name, 0), [row("fd", value)])
    table = only(tables(collect([str(tmp_path)])))
    best = {line.family: cell.best for line in table.models for cell in line.cells.values()}
    assert best == {"vae": True, "gan": True, "diffusion": False}
