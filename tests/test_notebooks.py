"""Notebooks are stored without output and every cell of them runs."""

import json
import sys
import types
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What a notebook displays; stands in for IPython where that is not installed."""
    out: list = []
    module = types.ModuleType("IPython.display")
    module.HTML, module.Image, module.display = str, Path, out.append
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, shown: list):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert cells and all(c["outputs"] == [] and c["execution_count"] is None for c in cells)
    names: dict = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert shown
