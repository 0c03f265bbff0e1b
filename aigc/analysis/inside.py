"""The page of `aigc inspect`: of a run from its parts, of a study from the numbers of its runs."""

import json
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


def write_page(folder: Path, title: str, lead: str, parts: list[Any]) -> Path:
    """`index.html` and a PNG a figure; a part has `title`, `note`, `numbers`, `figures` (functions
    that draw), `html`, and may have a `table`."""
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
                "table": getattr(part, "table", None),
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


class _Study:
    """The one part of a study's page."""

    title, html = "Runs", ""
    note = (
        "Mean over seeds, with half the width of Student's 95 % interval where there are several."
    )

    def __init__(self, groups: dict[str, list[dict[str, Any]]], dims: int):
        self.numbers: dict[str, Any] = {}
        names = [n for n in SHORT if all(n in row for rows in groups.values() for row in rows)]
        self.table = [["", "seeds", *(SHORT[n] for n in names)]]
        for group, rows in groups.items():
            cells = [mean_and_half([row[n] for row in rows]) for n in names]
            self.table.append([group, len(rows), *map(shown, cells)])
        points = {
            g: [(r["rate_nats"], r["distortion_nats"]) for r in rows] for g, rows in groups.items()
        }
        self.figures = {"rate_distortion": lambda: anatomy.rate_distortion(points, dims)}


def study_page(folder: Path, runs: list[RunDir]) -> Path | None:
    """The page of inspected runs that have a rate and a distortion: their curve and a table.
    None for fewer than two settings."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if "rate_nats" in (numbers := numbers_of(run)):
            groups.setdefault(label(run), []).append(numbers)
    if len(groups) < 2:
        return None
    groups = dict(
        sorted(groups.items(), key=lambda item: -np.mean([r["rate_nats"] for r in item[1]]))
    )
    dims = int(np.prod(runs[0].status["space"]["shape"]))
    lead = f"{sum(map(len, groups.values()))} runs of {runs[0].config['dataset']['name']}."
    return write_page(folder / "inspect", f"Inside {folder.name}", lead, [_Study(groups, dims)])


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
    """`0.312 ± 0.021`."""
    mean, half = cell
    digits = 3 if abs(mean) < 10 else 1
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
