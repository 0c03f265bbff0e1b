"""`aigc figure`: every study runs at the smoke budget, is drawn and judged."""

import json

import matplotlib.pyplot as plt
import pytest

from aigc.core.errors import BadInput
from aigc.lab import studies as module
from aigc.lab.studies import Study, experiments_dir, main, studies
from aigc.lab.validate import validate

STUDIES = studies("smoke")


LONG = ("family_ranking", "frontier", "sixteen_cells")  # sixteen runs each
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in STUDIES]


@pytest.mark.parametrize("name", MARKED)
def test_a_study_at_smoke(name: str, tmp_path, monkeypatch):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    study = STUDIES[name]
    assert study.status == "not made"
    verdicts = study.make()
    assert len(verdicts) == len(study.facts["claims"])
    assert study.status.partition(" of ")[0] == str(sum(v.holds for v in verdicts))
    assert not plt.get_fignums(), "a notebook would show it beside the one that it is asked for"
    assert all(v.holds for v in verdicts if v.exact)
    out = tmp_path / "figures" / f"{name}_smoke"
    assert study.figure == out / "figure.png" and study.figure.stat().st_size > 10_000
    assert json.loads((out / "verdict.json").read_text())["budget"] == "smoke"


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_documented_and_short(name: str):
    folder = experiments_dir() / name
    assert {"paper", "claim", "cost", "claims"} <= STUDIES[name].facts.keys()
    assert len((folder / "figures.py").read_text().splitlines()) <= 90
    assert f"aigc figure {name}" in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", [n for n, s in STUDIES.items() if s.facts.get("runs")])
def test_every_cell_of_every_budget_composes(name: str):
    from aigc.lab.conf import compose

    for budget in ("smoke", "small"):
        study = Study(experiments_dir() / name, budget)
        for line, words in study.facts["runs"].items():
            if "{" not in words:
                seedless = {tuple(w for w in c if "seed=" not in w) for c in study.cells(line)}
                for cell in seedless:
                    validate(compose("train", list(cell)))


def test_swept_values_multiply_and_a_budget_replaces_them(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    facts = {"runs": {"a": "model=vae,gan seed=0,1 x=[1,2]"}, "smoke": "seed=0"}
    (folder / "expected.json").write_text(json.dumps(facts))
    assert len(Study(folder).cells("a")) == 4
    assert Study(folder, "smoke").cells("a") == [
        ["study=mine_smoke", f"model={m}", "seed=0", "x=[1,2]"] for m in ("vae", "gan")
    ]


def test_the_overview_tells_what_was_found(capsys, monkeypatch, tmp_path):
    main([])
    out = capsys.readouterr().out
    assert "dirac_gan" in out and "Mescheder" in out
    with pytest.raises(BadInput, match="did you mean 'dirac_gan'"):
        main(["dirac_gam"])
    with pytest.raises(BadInput, match="did you mean 'small'"):
        main(["dirac_gan", "budget=smal"])


def test_an_exact_claim_that_fails_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("AIGC_RUNS", str(tmp_path))
    study = Study(experiments_dir() / "dirac_gan", "smoke")
    study.facts["claims"] = [
        {"claim": "wrong", "of": "minimax, both at once", "value": 9, "within": 1, "exact": True}
    ]
    monkeypatch.setattr(module, "studies", lambda budget: {"dirac_gan": study})
    with pytest.raises(SystemExit) as left:
        main(["dirac_gan", "budget=smoke"])
    assert left.value.code == 1
    assert "does not hold" in capsys.readouterr().out


def test_the_gallery_shows_every_study_that_was_made():
    from importlib.util import module_from_spec, spec_from_file_location

    file = experiments_dir() / "gallery.py"
    spec = spec_from_file_location("gallery", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (file.parents[1] / "README.md").read_text()
    assert module.PART.search(text)[0] == module.gallery()  # python experiments/gallery.py
    assert text.count("<img") == len(list(experiments_dir().glob("*/results/verdict.json")))
