"""The page of `aigc inspect`: of a run from its parts, of a study from the numbers of its runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis import anatomy, figures
from aigc.runs import RunDir, write_atomic

SHORT = {
    "rate_nats": "rate",
    "distortion_nats": "distortion",
    "elbo_bits_per_dim": "ELBO, bits a dim",
    "active_units": "active units",
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI dis.",
    "dci_completeness": "DCI compl.",
    "dci_informativeness": "DCI inform.",
    "bits_per_token": "bits a token",
    "entropy_per_token": "entropy a token",
}


@dataclass
class Part:
    """A section of the page: numbers, functions that draw a figure by file name, a table with its
    head, and HTML."""

    title: str
    note: str
    numbers: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Callable[[], Any]] = field(default_factory=dict)
    html: str = ""
    table: list[list[str]] | None = None


def write_page(folder: Path, title: str, lead: str, parts: list[Part]) -> Path:
    """`index.html` and a PNG a figure."""
    from jinja2 import Environment, select_autoescape

    folder.mkdir(parents=True, exist_ok=True)
    shown = []
    for part in parts:
        for name, draw in part.figures.items():
            _png(draw, folder / f"{name}.png")
        pictures = [(name, figures.both_inks(draw)) for name, draw in part.figures.items()]
        shown.append(
            {
                "title": part.title,
                "note": part.note,
                "facts": _facts(part.numbers),
                "pictures": pictures,
                "html": part.html,
                "table": part.table,
            }
        )
    source = (resources.files("aigc.analysis") / "inspect.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    page = environment.from_string(source).render(title=title, lead=lead, parts=shown)
    write_atomic(folder / "index.html", page)
    return folder / "index.html"


def numbers_of(run: RunDir) -> dict[str, Any]:
    """All single numbers of a run's `inspect.json` by name, or nothing."""
    file = run / "inspect" / "inspect.json"
    if not file.is_file():
        return {}
    parts = json.loads(file.read_text())["parts"]
    return {k: v for part in parts.values() for k, v in part.items() if isinstance(v, int | float)}


def study_page(folder: Path, runs: list[RunDir]) -> Path | None:
    """The page of inspected runs that have a rate and a distortion: their curve and a table.
    None for fewer than two settings."""
    groups = grouped(runs)
    if len(groups) < 2:
        return None
    points = {
        name: [(n["rate_nats"], n["distortion_nats"]) for n in map(numbers_of, group)]
        for name, group in groups.items()
    }
    status, name = runs[0].status, runs[0].config["dataset"]["name"]
    dims = int(np.prod(status["space"]["shape"]))
    note = (
        "Mean over seeds, with half the width of Student's 95 % interval where there are several."
    )
    draw = {"rate_distortion": lambda: anatomy.rate_distortion(points, dims)}
    part = Part("Rate and distortion", note, figures=draw, table=table(groups))
    lead = f"{sum(map(len, groups.values()))} runs on {name}."
    return write_page(folder / "inspect", f"Inside {folder.name}", lead, [part])


def grouped(runs: list[RunDir]) -> dict[str, list[RunDir]]:
    """Runs with a rate by what they minimise, those of the highest mean rate first."""
    groups: dict[str, list[RunDir]] = {}
    for run in runs:
        if "rate_nats" in numbers_of(run):
            groups.setdefault(label(run), []).append(run)
    rate = {g: np.mean([numbers_of(r)["rate_nats"] for r in runs]) for g, runs in groups.items()}
    return dict(sorted(groups.items(), key=lambda item: -rate[item[0]]))


def table(groups: dict[str, list[RunDir]]) -> list[list[str]]:
    """A head and a row a group, of the numbers that all runs have."""
    rows = {name: [numbers_of(run) for run in runs] for name, runs in groups.items()}
    names = [n for n in SHORT if all(n in row for group in rows.values() for row in group)]
    out = [["", "seeds", *(SHORT[n] for n in names)]]
    for group, found in rows.items():
        cells = [shown(mean_and_half([row[n] for row in found])) for n in names]
        out.append([group, str(len(found)), *cells])
    return out


def label(run: RunDir) -> str:
    """What a run minimises, and its weight of the KL."""
    model = run.config["model"]
    kind = (model.get("bound") or {}).get("_target_", model["name"]).rsplit(".", 1)[-1]
    return f"{kind}, beta {model['beta']:g}" if "beta" in model else kind


def mean_and_half(values: list[float]) -> tuple[float, float | None]:
    """Mean and half the width of Student's 95 % interval (None for one value)."""
    from scipy.stats import t

    if len(values) < 2:
        return float(np.mean(values)), None
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values)), float(half)


def shown(cell: tuple[float, float | None]) -> str:
    """`0.312 ± 0.021`, `5.49 ± 0.87`, `86.8 ± 5.5`."""
    mean, half = cell
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def _facts(numbers: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (SHORT[k], f"{v:.4g}" if isinstance(v, float) else str(v))
        for k, v in numbers.items()
        if k in SHORT
    ]


def _png(draw: Any, path: Path) -> None:
    with figures.style(figures.INK["light"]):
        figure = draw()
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)
