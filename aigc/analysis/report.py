"""`aigc compare`: one page that needs nothing but itself, with its table as CSV, LaTeX and PNG."""

import argparse
from importlib import resources
from pathlib import Path
from typing import Any

from aigc.analysis import figures
from aigc.analysis.baseline import find, gaps
from aigc.analysis.compare import Table, tables
from aigc.analysis.export import (
    half,
    head,
    latex,
    markdown,
    print_table,
    show_cell,
    signed,
    write_csv,
    write_json,
)
from aigc.analysis.frontier import frontier
from aigc.analysis.load import Record, collect
from aigc.analysis.media import PAGE, PANELS, WALLS, neighbours, pixels, walls
from aigc.analysis.recipe import side_by_side

SUMMARY = 8  # sample walls of the summary picture


def main(words: list[str]) -> None:
    """Parse the words after `aigc compare`, write the files, print the table and the page's
    path."""
    parser = argparse.ArgumentParser("aigc compare", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="DIR", help="run folders, studies, patterns")
    parser.add_argument("--out", help="folder to write to; default the study of the first run")
    parser.add_argument(
        "--metrics", help="names with commas between, or all; default those of a plain evaluation"
    )
    parser.add_argument(
        "--by", help="settings with commas between (budget.examples): what makes a line"
    )
    parser.add_argument("--baseline", help="a family, line or run: show differences from it")
    args = parser.parse_args(words)
    metrics, by = (text.split(",") if text else None for text in (args.metrics, args.by))
    out, page = compare(args.paths, args.out, metrics, by, args.baseline)
    for table in out:
        print_table(table)
    print(page)


def compare(
    paths: list[str],
    out: str | None = None,
    metrics: list[str] | None = None,
    by: list[str] | None = None,
    baseline: str | None = None,
) -> tuple[list[Table], Path]:
    """Tables of the runs at `paths`, and the page written to `out`."""
    records = collect(paths)
    found = tables(records, metrics, by)
    folder = Path(out) if out else records[0].dir.path.parent / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "compare.html"
    page.write_text(render(found, records, baseline), encoding="utf-8")
    write_csv(found, folder / "compare.csv")
    write_json(found, records, folder / "compare.json")
    (folder / "compare.tex").write_text("\n\n".join(map(latex, found)) + "\n")
    (folder / "compare.md").write_text("\n\n".join(map(markdown, found)) + "\n")
    for i, table in enumerate(found):
        name = "compare.png" if i == 0 else f"compare-{table.dataset}.png"
        write_png(table, folder / name)
    return found, page


def render(found: list[Table], records: list[Record], baseline: str | None = None) -> str:
    """The page as one string of HTML."""
    from jinja2 import Environment, select_autoescape

    source = (resources.files("aigc.analysis") / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    environment.filters |= {"cell": show_cell, "half": half, "head": head, "signed": signed}
    environment.filters["count"] = "{:,}".format
    share = PAGE // sum(min(len(t.models), WALLS) + min(len(t.models), PANELS) + 1 for t in found)
    sections = [section(table, share, baseline) for table in found]
    return environment.from_string(source).render(sections=sections, runs=provenance(records))


def section(table: Table, share: int, baseline: str | None) -> dict[str, Any]:
    """What the page shows of one table; `share` bytes of media a line."""
    base = find(table, baseline) if baseline else None
    return {
        "table": table,
        "walls": walls(table, share),
        "shown": min(len(table.models), WALLS),
        "neighbours": neighbours(table, share),
        "curves": figures.both_inks(lambda: figures.learning_curves(table)),
        "frontier": figures.both_inks(lambda: frontier(table)),
        "settings": side_by_side([line.records[0].config for line in table.models]),
        "baseline": base,
        "gaps": gaps(table, base) if base else {},
        "facts": facts(table),
    }


def facts(table: Table) -> dict[str, Any]:
    """What was compared on what: for the line under the title."""
    status = table.models[0].records[0].dir.status
    return {**status["data"], "space": status["space"]}


def provenance(records: list[Record]) -> list[dict[str, Any]]:
    """For each run: where it lies, how it was made, and the commands that judged it."""
    return [
        {
            **{"name": record.dir.path.name, "status": record.dir.status, "env": record.env},
            "judged": judging(record),
        }
        for record in records
    ]


def judging(record: Record) -> list[str]:
    """The commands that give the rows of a run, one a sampler, seed and number of examples."""
    asked: dict[tuple, list[str]] = {}
    for row in record.rows:
        kinds = asked.setdefault((row["sampler"], row["seed"]), [])
        if row["n"] and f"n={row['n']}" not in kinds:
            kinds.append(f"n={row['n']}")
    out = []
    for (sampler, seed), counts in asked.items():
        name, *fields = sampler.split()
        words = [f"sampler={name}", *(f"sampler.{f}" for f in fields), f"seed={seed}"]
        most = max(counts, key=lambda word: int(word[2:]), default="")
        out.append(" ".join(filter(None, ["aigc evaluate run=DIR", *words, most])))
    return out


def write_png(table: Table, path: Path) -> None:
    """The summary figure."""
    import matplotlib.pyplot as plt

    shown = [wall for wall in walls(table, PAGE) if wall["picture"]][:SUMMARY]
    pictures = [(wall["title"], pixels(wall["picture"])) for wall in shown]
    with figures.style(figures.INK["light"]):
        figure = figures.summary(table, pictures)
        figure.savefig(path, dpi=150, facecolor="white", bbox_inches="tight")
        plt.close(figure)
