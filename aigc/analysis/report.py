"""`aigc compare`: one page that needs nothing but itself, with its table as CSV, LaTeX and PNG."""

import argparse
import json
from importlib import resources
from pathlib import Path
from typing import Any

from aigc.analysis import figures
from aigc.analysis.compare import Table, tables
from aigc.analysis.export import half, head, latex, print_table, show_cell, write_csv
from aigc.analysis.load import Record, collect
from aigc.analysis.media import pixels, real_wall, wall


def main(words: list[str]) -> None:
    """Parse the words after `aigc compare`, write the files, print the table and the page's
    path."""
    parser = argparse.ArgumentParser("aigc compare", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="DIR", help="run folders, or studies of runs")
    parser.add_argument("--out", help="folder to write to; default the study of the first run")
    parser.add_argument(
        "--metrics", help="names with commas between, or all; default those of a plain evaluation"
    )
    args = parser.parse_args(words)
    metrics = args.metrics.split(",") if args.metrics else None
    out, page = compare(args.paths, args.out, metrics)
    for table in out:
        print_table(table)
    print(page)


def compare(
    paths: list[str], out: str | None = None, metrics: list[str] | None = None
) -> tuple[list[Table], Path]:
    """Tables of the runs at `paths`, and the page written to `out`."""
    records = collect(paths)
    found = tables(records, metrics)
    folder = Path(out) if out else records[0].dir.path.parent / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(found, folder / "compare.csv")
    (folder / "compare.tex").write_text("\n\n".join(map(latex, found)) + "\n")
    for i, table in enumerate(found):
        name = "compare.png" if i == 0 else f"compare-{table.dataset}.png"
        write_png(table, folder / name)
    page = folder / "compare.html"
    page.write_text(render(found, records), encoding="utf-8")
    return found, page


def render(found: list[Table], records: list[Record]) -> str:
    """The page as one string of HTML."""
    from jinja2 import Environment, select_autoescape

    source = (resources.files("aigc.analysis") / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    environment.filters |= {"cell": show_cell, "half": half, "head": head, "count": "{:,}".format}
    sections = [
        {
            "table": table,
            "walls": [wall(line) for line in table.models] + real_wall(table),
            "curves": figures.both_inks(lambda t=table: figures.learning_curves(t)),
            "costs": _maybe(table),
            "facts": facts(table),
        }
        for table in found
    ]
    return environment.from_string(source).render(sections=sections, runs=provenance(records))


def _maybe(table: Table) -> dict[str, str] | None:
    if not any(c.metric == "fd" for c in table.columns):
        return None
    return figures.both_inks(lambda: figures.quality_against_cost(table))


def facts(table: Table) -> dict[str, Any]:
    """What was compared on what: for the line under the title."""
    status = table.models[0].records[0].dir.status
    return {**status["data"], "space": status["space"]}


def provenance(records: list[Record]) -> list[dict[str, Any]]:
    """For each run: where it lies and how it was made."""
    out = []
    for record in records:
        env = json.loads((record.dir / "env.json").read_text())
        out.append({"name": record.dir.path.name, "status": record.dir.status, "env": env})
    return out


def write_png(table: Table, path: Path) -> None:
    """The summary figure."""
    import matplotlib.pyplot as plt

    walls = []
    for item, line in [(wall(line), line) for line in table.models]:
        if item["picture"]:
            walls.append((line.title, pixels(item["picture"])))
    for item in real_wall(table):
        if item["picture"]:
            walls.append((item["title"], pixels(item["picture"])))
    with figures.style(figures.INK["light"]):
        figure = figures.summary(table, walls)
        figure.savefig(path, dpi=150, facecolor="white", bbox_inches="tight")
        plt.close(figure)
