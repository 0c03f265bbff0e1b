"""Notebooks are stored without output, call the package and define nothing, and every cell of them
runs."""

import ast
import json
import sys
import types
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import aigc as package

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
QUICK = ("figures", "tour")  # the others train several models
KEYS = {"code": {"execution_count", "outputs"}, "markdown": set()}
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list:
    """What a notebook displays; stands in for IPython where that is not installed."""
    out: list = []
    module = types.ModuleType("IPython.display")
    module.HTML, module.Image, module.Markdown, module.display = str, Path, str, out.append

    def show():
        assert plt.get_fignums(), "plt.show() without a figure"
        out.extend(plt.get_fignums())
        plt.close("all")

    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(plt, "show", show)
    plt.close("all")
    with plt.rc_context():
        yield out
    assert not plt.get_fignums(), "a figure that a notebook would show twice, or never"


def test_there_is_a_notebook_for_each_family_and_task():
    families = {"autoregressive", "diffusion", "vae", "gan"}
    tasks = {"tour", "compare", "text_generation", "your_own_data", "figures"}
    assert {path.stem for path in NOTEBOOKS} == families | tasks


@each
def test_a_notebook_is_stored_without_what_a_run_of_it_leaves(path: Path):
    book = json.loads(path.read_text())
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert book["metadata"] == {"kernelspec": kernel, "language_info": {"name": "python"}}
    assert 5 <= len(book["cells"]) <= 15
    for i, cell in enumerate(book["cells"]):
        own = {"cell_type", "id", "metadata", "source"} | KEYS[cell["cell_type"]]
        assert cell.keys() == own and cell["metadata"] == {} and cell["id"] == f"cell-{i}"
        assert not cell.get("outputs") and cell.get("execution_count") is None


@each
def test_a_notebook_calls_what_is_public_and_defines_nothing(path: Path):
    assert any('\nBUDGET = "smoke"' in source for source in code(path))
    for node in ast.walk(ast.parse("\n".join(code(path)))):
        assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("aigc."):
            assert all(hasattr(import_module(node.module), name.name) for name in node.names)
            assert not any(name.name.startswith("_") for name in node.names)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")
            if isinstance(node.value, ast.Name) and node.value.id == "aigc":
                assert node.attr in package.__all__


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p.stem in QUICK else pytest.mark.slow) for p in NOTEBOOKS],
    ids=lambda p: p.stem,
)
def test_a_notebook_runs_from_top_to_bottom(path: Path, shown: list):
    names: dict = {}
    for source in code(path):
        exec(source, names)
    assert shown
