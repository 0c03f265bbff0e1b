"""`aigc list`: what there is to choose from, with its facts."""

import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import yaml

from aigc.core.errors import unknown
from aigc.lab.choices import conf_dir, files_of
from aigc.runs import cache_root, write_atomic

Table = tuple[list[str], list[list[str]]]  # a head and rows


def main(words: list[str]) -> None:
    """List one kind of thing, or all of them."""
    for word in words:
        if word not in KINDS:
            raise unknown("thing to list", word, KINDS)
    for kind in words or KINDS:
        table(kind, *KINDS[kind]())


def remembered(make: Callable[[], Table], room: str, module: str) -> Table:
    """What `make` reads from a registry of modules that need torch, kept in the cache until a file
    of their room changes. A process that has the registry already reads it."""
    if module in sys.modules:
        return make()
    files = sorted((Path(__file__).parents[1] / room).rglob("*.py"))
    now = [[str(f), f.stat().st_mtime_ns, f.stat().st_size] for f in files]
    file = cache_root() / f"list-{room}.json"
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads(file.read_text())
        if kept["files"] == now:
            return kept["table"]
    found = make()
    with suppress(OSError):
        write_atomic(file, json.dumps({"files": now, "table": found}))
    return found


def table(title: str, head: list[str], rows: Iterable[list[str]]) -> None:
    """Print rows under a head, as wide as they need."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(head):
        grid.add_column(name, no_wrap=i + 1 < len(head), style="bold" if i == 0 else "")
    for row in rows:
        grid.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(grid, "")


def datasets() -> tuple[list[str], list[list[str]]]:
    """The registry of data sets."""
    from aigc.data.datasets import all_datasets

    order = {"embedded": 0, "law": 1, "standard": 2, "own": 3}
    facts = sorted(all_datasets().values(), key=lambda f: (order[f.kind], f.modality))
    rows = [[f.name, f.modality, f.kind, str(f.classes or ""), f.licence, f.about] for f in facts]
    return ["name", "modality", "kind", "classes", "licence", "about"], rows


def models() -> tuple[list[str], list[list[str]]]:
    """Families, with what their configuration says."""
    rows = [[f.stem, node["needs"], node["_target_"]] for f, node in _nodes("model")]
    return ["model", "view", "class"], rows


def samplers() -> tuple[list[str], list[list[str]]]:
    """Sampling strategies, by family, with their numbers."""
    rows = []
    for file, node in _nodes("sampler"):
        numbers = {k: v for k, v in node.items() if k not in ("name", "_target_", "families")}
        settings = ", ".join(k if v is None else f"{k}={v}" for k, v in numbers.items())
        rows.append([file.stem, ", ".join(node["families"]), settings])
    return ["sampler", "family", "settings"], sorted(rows, key=lambda row: row[1])


def metrics() -> tuple[list[str], list[list[str]]]:
    """The registry of metrics."""
    from aigc.metrics.suite import METRICS

    rows = [
        [
            *(m.name, m.axis, m.better if m.target is None else f"{m.target:g}"),
            *("by class" if m.by_class else "shown" if m.shown else m.cost, m.about),
        ]
        for m in METRICS.values()
    ]
    return ["metric", "axis", "best", "class", "about"], rows


def nets() -> tuple[list[str], list[list[str]]]:
    """Networks by the role they fill."""
    rows = []
    roles = sorted(p.name for p in (conf_dir() / "net").iterdir() if p.is_dir())
    for role in roles:
        rows += [[f"net/{role}={f.stem}", node["_target_"]] for f, node in _nodes(f"net/{role}")]
    return ["choice", "class"], rows


def experiments() -> tuple[list[str], list[list[str]]]:
    """Named experiments."""
    rows = []
    for file in files_of("experiment").values():
        lines = [line[2:] for line in file.read_text().splitlines() if line.startswith("# ")]
        rows.append([file.stem, next((line for line in lines if not line.startswith("@")), "")])
    return ["experiment", "about"], rows


def sweeps() -> tuple[list[str], list[list[str]]]:
    """Where the cells of `aigc train -m` run, and how they are chosen."""
    rows = []
    for group in ("hydra/launcher", "hydra/sweeper"):
        for file, node in _nodes(group):
            lines = [x.lstrip("# ") for x in file.read_text().splitlines() if x.startswith("# ")]
            settings = ", ".join(k for k in node if k != "_target_")
            rows.append([f"{group}={file.stem}", f"{' '.join(lines)} Settings: {settings}."])
    return ["choice", "about"], rows


def _nodes(group: str) -> list[tuple[Path, dict]]:
    return [(file, yaml.safe_load(file.read_text())) for file in files_of(group).values()]


KINDS = {
    "datasets": lambda: remembered(datasets, "data", "aigc.data.datasets"),
    "models": models,
    "samplers": samplers,
    "metrics": lambda: remembered(metrics, "metrics", "aigc.metrics.suite"),
    "nets": nets,
    "experiments": experiments,
    "sweeps": sweeps,
}
