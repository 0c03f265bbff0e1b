"""A table of the comparison as text: for the page, the terminal, CSV and LaTeX."""

import csv
import json
from dataclasses import asdict
from math import floor, log10
from pathlib import Path

from aigc.analysis.compare import Cell, Column, Line, Table
from aigc.analysis.load import Record

ARROWS = {"low": "↓", "high": "↑", "target": "→"}
UNITS = {
    "samples_per_second": "samples / s",
    "train_seconds": "train s",
    "bits_per_dim": "bits / dim",
    "bits_per_byte": "bits / byte",
    "nn_ratio": "NN ratio",
    "fd": "FD",
    "c2st": "C2ST",
    "c2st_knn": "C2ST kNN",
    "nfe": "NFE",
    "parameters": "params",
    "kid": "KID",
    "vendi": "Vendi ratio",
    "c_t": "C_T",
    "fd_inf": "FD at infinity",
    "latency_ms": "latency ms",
    "peak_mb": "peak MB",
    "train_flops": "train FLOPs",
    "column_shapes": "column shapes",
    "pair_trends": "pair trends",
}

NAME_WIDTH = 15  # of a line's name in a terminal; longer ones wrap


def head(column: Column) -> str:
    """A column's heading: metric, direction, extractor."""
    arrow = ARROWS[column.better] + (f" {column.target:g}" if column.better == "target" else "")
    extractor = column.extractor.split("@")[0] if column.extractor else ""
    extractor += " quick" if " quick" in column.protocol else ""
    return f"{UNITS.get(column.metric, column.metric)} {arrow}|{extractor.strip()}"


def decimals(cell: Cell) -> int:
    """Digits after the point that the interval leaves room for."""
    if cell.half:
        return min(max(1 - floor(log10(cell.half)), 0), 3)
    digits = max(2 - floor(log10(abs(cell.value))), 0) if cell.value else 2
    return digits if cell.half is None else min(digits, 3)


def number(cell: Cell) -> str:
    """The value with as many digits as mean something; large ones as k and M."""
    if scaled := _scaled(cell, cell.value):
        return scaled
    if cell.value == int(cell.value) and cell.half is None:
        return f"{cell.value:,.0f}"
    return f"{cell.value:,.{decimals(cell)}f}"


def _scaled(cell: Cell, x: float) -> str:
    """`x` in the unit of a cell with a large value, empty for others."""
    for size, unit, letter in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(cell.value) >= size:
            return f"{x / unit:.3g} {letter}"
    return ""


def show_cell(line: Line, column: Column) -> str:
    """`≤ 1.73`, a dagger for a foreign protocol, a dash where there is nothing."""
    cell = line.cells.get(column)
    if cell is None:
        return "–"
    bound = "≤ " if cell.kind == "bound" else ""
    return f"{bound}{number(cell)}{'†' if cell.foreign else ''}"


def half(line: Line, column: Column) -> str:
    """Half the width of the interval, empty where there is none."""
    cell = line.cells.get(column)
    if cell is None or cell.half is None:
        return ""
    return _scaled(cell, cell.half) or f"{cell.half:,.{decimals(cell)}f}"


def signed(x: float, half: float | None = None) -> str:
    """`+0.079` with as many digits as `half` leaves room for; large ones as k and M."""
    size = abs(x)
    for least, unit, letter in ((1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if size >= least:
            return f"{x / unit:+.3g}{letter}"
    digits = min(max(1 - floor(log10(half or size)), 0), 3) if half or size else 0
    return f"{x:+,.{digits}f}"


def write_csv(found: list[Table], path: Path) -> None:
    """All cells, one a line."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            "dataset row sampler metric extractor value half95 seeds kind best protocol".split()
        )
        for table in found:
            for line in table.models + table.references:
                for column, cell in line.cells.items():
                    rows.writerow(
                        [
                            *(table.dataset, line.family, line.detail, column.metric),
                            *(column.extractor, cell.value, cell.half, cell.seeds),
                            *(cell.kind, cell.best, cell.protocol),
                        ]
                    )


def markdown(table: Table) -> str:
    """A table of every column, one line a model or reference; the best is bold."""
    heads = [head(c).replace("|", " ").strip() for c in table.columns]
    rows = [f"| {table.dataset} | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for line in table.models + table.references:
        texts = []
        for column in table.columns:
            text, spread = show_cell(line, column), half(line, column)
            best = column in line.cells and line.cells[column].best
            texts.append((f"**{text}**" if best else text) + (f" ± {spread}" if spread else ""))
        rows.append(f"| {line.title} | {' | '.join(texts)} |")
    return "\n".join([*rows, "", *(f"- {note}" for note in table.notes)])


def write_json(found: list[Table], records: list[Record], path: Path) -> None:
    """Everything that the page is made of: lines with the value of each seed, notes, and of each
    run its configuration, environment, state and rows."""
    lines = [
        {
            **{"dataset": table.dataset, "name": line.name, "family": line.family},
            **{"sampler": line.sampler, "differs": line.differs},
            "runs": [record.dir.path.name for record in line.records],
            "cells": [asdict(column) | asdict(cell) for column, cell in line.cells.items()],
            "absent": {column.title: reason for column, reason in line.reasons.items()},
        }
        for table in found
        for line in table.models + table.references
    ]
    runs = [
        {
            **{"run": r.dir.path.name, "config": r.config, "status": r.dir.status},
            **{"env": r.env, "rows": r.dir.rows(), "references": r.references},
        }
        for r in records
    ]
    notes = {table.dataset: table.notes for table in found}
    path.write_text(json.dumps({"lines": lines, "notes": notes, "runs": runs}, default=str))


def latex(table: Table) -> str:
    """A booktabs table of everything but cost."""
    columns = [c for c in table.columns if c.axis != "cost"]
    heads = [_escape(head(c).replace("|", " ").strip()) for c in columns]
    for mark, command in (("↓", r"$\downarrow$"), ("↑", r"$\uparrow$"), ("→", r"$\rightarrow$")):
        heads = [h.replace(mark, command) for h in heads]
    rows = [" & ".join(["", *heads]) + r" \\", r"\midrule"]
    for i, line in enumerate(table.models + table.references):
        if i == len(table.models):
            rows.append(r"\midrule")
        rows.append(
            " & ".join([_escape(line.title), *(_latex_cell(line, c) for c in columns)]) + r" \\"
        )
    body = "\n".join(rows)
    return (
        f"% {table.dataset}\n\\begin{{tabular}}{{l{'r' * len(columns)}}}\n\\toprule\n{body}\n"
        "\\bottomrule\n\\end{tabular}"
    )


def _escape(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("#", r"\#")


def _latex_cell(line: Line, column: Column) -> str:
    cell = line.cells.get(column)
    if cell is None:
        return "--"
    text = show_cell(line, column).replace("≤", r"$\le$").replace("†", r"$^\dagger$")
    text = rf"\textbf{{{text}}}" if cell.best else text
    return rf"{text} $\pm$ {half(line, column)}" if half(line, column) else text


def print_table(table: Table) -> None:
    """The main metrics in the terminal, one line a model; as many columns as it is wide."""
    from rich.console import Console
    from rich.measure import Measurement

    console, columns = Console(), main_columns(table)
    while len(columns) > 1:
        grid = _grid(table, columns)
        grid.columns[0].max_width = NAME_WIDTH
        if (
            Measurement.get(console, console.options.update(width=999), grid).maximum
            <= console.width
        ):
            break
        columns = columns[:-1]
    console.print(_grid(table, columns))
    if dropped := len(main_columns(table)) - len(columns):
        console.print(
            f"[dim]{dropped} more columns in a wider terminal, all of them on the page[/]"
        )


def main_columns(table: Table) -> list[Column]:
    """What a terminal shows of a table, the most telling first."""
    extractors = list(dict.fromkeys(c.extractor for c in table.columns if c.extractor))
    columns = [c for c in table.columns if c.metric == "fd"]
    once = ("coverage", "tail_coverage", "accuracy_gain", "nn_ratio")
    columns += [c for c in table.columns if c.metric in once and c.extractor == extractors[0]]
    columns += [c for c in table.columns if c.axis == "likelihood"]
    columns += [c for c in table.columns if c.metric == "samples_per_second"]
    return columns or table.columns


def _grid(table: Table, columns: list[Column]):
    from rich.table import Table as Grid

    grid = Grid(
        title=table.dataset, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    grid.add_column("", min_width=NAME_WIDTH)
    for column in columns:
        title = head(column).replace(" / ", "/").replace("samples/s", "per s")
        grid.add_column(
            title.replace("|", "\n").rstrip("0123456789"), justify="right", no_wrap=True
        )
    for i, line in enumerate(table.models + table.references):
        texts = [show_cell(line, c) for c in columns]
        best = [c in line.cells and line.cells[c].best for c in columns]
        grid.add_row(
            line.title.removesuffix(" (floor)"),
            *(f"[bold green]{text}[/]" if b else text for text, b in zip(texts, best)),
            style="" if i < len(table.models) else "dim",
        )
    return grid
