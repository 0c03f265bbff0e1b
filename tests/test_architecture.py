"""Who may import whom (five floors, only downward), and how large a file may grow."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "aigc"
FLOORS = {
    "cli": 5,
    "lab": 4,
    "families": 3,
    "data": 3,
    "analysis": 3,
    "metrics": 2,
    "nets": 2,
    "modalities": 2,
    "core": 1,
    "runs": 1,
}
# Stricter than the floors.
NEVER = {
    "families": {"nets", "data", "modalities", "metrics"},
    "nets": {"metrics", "modalities", "runs"},
}
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, types: bool = True) -> set[str]:
    """Dotted names that a file imports, at any depth of its functions; without `types` not what
    only a type checker does."""
    found, tree = set(), ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(path: Path):
    own = room(path)
    if own in ("__init__", "__main__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "aigc" or len(parts) == 1:
            continue
        other = parts[1]
        if other not in FLOORS or other == own:
            continue
        assert FLOORS[other] < FLOORS[own], f"{path} imports {name}, which is not below it"
        assert other not in NEVER.get(own, set()), f"{path} imports {name}"


def test_no_file_imports_itself_through_others():
    files = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in FILES}
    graph = {}
    for name, path in files.items():
        wanted = imports(path, types=False)
        wanted |= {other.rpartition(".")[0] for other in wanted}  # a name in a file
        graph[name] = wanted & files.keys() - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_lab_knows_hydra(path: Path):
    if room(path) in ("lab", "cli"):
        return
    assert not {n for n in imports(path) if n.split(".")[0] in ("hydra", "omegaconf")}


def test_maths_is_plain_torch():
    modules = set(ROOT.glob("families/*/*module.py"))
    for path in set(ROOT.glob("families/*/*.py")) - modules:
        assert not any(name.startswith("lightning") for name in imports(path)), path


def test_families_do_not_know_each_other():
    names = {p.parent.name for p in ROOT.glob("families/*/module.py")}
    assert names == {"autoregressive", "diffusion", "vae", "gan"}
    for path in ROOT.glob("families/*/*.py"):
        others = {f"aigc.families.{name}" for name in names - {path.parent.name}}
        assert not any(n.startswith(tuple(others)) for n in imports(path)), path


def test_analysis_needs_no_torch():
    code = "import aigc.analysis.report, aigc.runs, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['aigc', 'train', '--help']; from aigc.cli import main; main();"
        "assert not {'torch', 'hydra', 'lightning', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_files_stay_small():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_package_files_are_empty():
    for path in ROOT.rglob("__init__.py"):
        assert path.parent == ROOT or not path.read_text().strip(), path


def test_every_public_thing_is_documented():
    bare = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                hooks = node.name.startswith(("on_", "forward"))
                if not ast.get_docstring(node) and not hooks and not _nested(path, node):
                    bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare


def _nested(path: Path, node: ast.AST) -> bool:
    """Whether a definition lies inside a function or a private class."""
    for outer in ast.walk(ast.parse(path.read_text())):
        inside = isinstance(outer, ast.FunctionDef)
        inside |= isinstance(outer, ast.ClassDef) and outer.name.startswith("_")
        if inside and outer.lineno < node.lineno <= outer.end_lineno:
            return True
    return False
