"""`aigc sweep status|table`: where a study's cells stand, and one table of them, from files
alone."""

import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc.core.errors import BadInput, unknown
from aigc.lab.sweeps import record
from aigc.lab.sweeps.cells import tail, titled
from aigc.runs import RunDir, runs_root

FACTS = ("state", "examples", "seconds")
SHOWN = 6  # metrics in the terminal, unless some are named; the file has all


@dataclass
class Row:
    """A cell: what is swept, how it stands, and what is measured."""

    name: str
    labels: dict[str, str]
    state: str
    reason: str
    examples: int
    seconds: float
    values: dict[str, float]


def main(words: list[str]) -> None:
    """`status DIR|STUDY`: exit code 1 while cells are missing; `table DIR|STUDY [METRIC ...]`."""
    usage = "aigc sweep status DIR|STUDY, or aigc sweep table DIR|STUDY [METRIC ...] [--csv FILE]"
    if len(words) < 2:
        raise BadInput(f"sweep: {usage}")
    task, place, rest = words[0], words[1], words[2:]
    if task not in ("status", "table"):
        raise unknown("task of sweep", task, ["status", "table"])
    study = found(place)
    rows = rows_of(study)
    if task == "status":
        if rest:
            raise BadInput(f"sweep status takes one folder, not '{rest[0]}'")
        sys.exit(status(study, rows))
    file = None
    if "--csv" in rest:
        at = rest.index("--csv")
        if at + 1 >= len(rest):
            raise BadInput("--csv needs a file")
        file, rest = rest[at + 1], rest[:at] + rest[at + 2 :]
    table(study, rows, rest, file)


def found(place: str) -> Path:
    """The folder of a study, by its path or its name; BadInput where there are no cells."""
    for study in (Path(place), runs_root() / place):
        if (study / ".sweep" / "cells.jsonl").is_file() or RunDir.below(study):
            return study
    raise BadInput(f"no sweep in {place}, nor a study of that name in {runs_root()}")


def rows_of(study: Path) -> list[Row]:
    """Cells that were asked for, in that order, and then runs that were trained one by one."""
    cells = record.read(study)
    for run in RunDir.below(study):
        cells.setdefault(run.path.name if run.path.parent == study else str(run), {})
    return [_row(study, name, cell) for name, cell in cells.items()]


def _row(study: Path, name: str, cell: dict[str, Any]) -> Row:
    run = RunDir(study / name if not Path(name).is_absolute() else name)
    if not run.path.exists() and Path(name).exists():
        run = RunDir(name)
    state, reason = run.state, cell.get("reason", "")
    last = cell.get("state", "waiting")
    if state == "new":
        state = "waiting" if last == "running" else last
    elif state in ("failed", "stale"):
        ended = last in ("failed", "pruned", "stopped")
        state = last if ended else "failed" if state == "failed" else "stopped"
        reason = reason or (run.status.get("reason", "") if state == "failed" else "")
    values = measured(run)
    seen = int(values.pop("examples", 0))
    seconds = run.status.get("train_seconds", values.pop("seconds", 0.0))
    return Row(name, cell.get("labels") or _plain(run), state, reason, seen, seconds, values)


def _plain(run: RunDir) -> dict[str, str]:
    """Model, data and seed of a run that no sweep has asked for."""
    if not (run / "config.yaml").is_file():
        return {}
    config = run.config
    names = {key: config[key]["name"] for key in ("model", "dataset")}
    return {**names, "seed": str(config["seed"])}


def measured(run: RunDir) -> dict[str, float]:
    """Examples and seconds so far, the best validation loss, and metrics as `name` or
    `name@extractor`."""
    values: dict[str, float] = {}
    if last := tail(run / "log.csv"):
        parts = last[-1].split(",")
        if len(parts) == 4 and parts[0].isdigit():
            values |= {"examples": int(parts[0]), "seconds": float(parts[1])}
    for name in ("val/loss", "val/fd"):
        if rows := series(run, name):
            values[name] = min(value for _, value in rows)
    for row in run.rows() if run.path.is_dir() else []:
        if row.get("value") is not None and row.get("of", "model") == "model":
            extractor = (row.get("extractor") or "").split("@")[0].rstrip("0123456789")
            values[f"{row['metric']}@{extractor}" if extractor else row["metric"]] = row["value"]
    return values


def series(run: RunDir, name: str) -> list[tuple[int, float]]:
    """The values that a run's log has of `name`, by examples seen."""
    try:
        with (run / "log.csv").open() as file:
            rows = [line.rstrip("\n").split(",") for line in file]
    except OSError:
        return []
    return [(int(row[0]), float(row[3])) for row in rows if len(row) == 4 and row[2] == name]


def status(study: Path, rows: list[Row]) -> int:
    """Say how many cells are in which state, and why those that failed did; 0 when all are done."""
    counts = Counter(row.state for row in rows)
    parts = [f"{n} {state}" for state, n in counts.items()]
    print(f"{study}: {len(rows)} cells, {', '.join(parts)}")
    for row in rows:
        if row.state in ("running", "failed", "stopped", "pruned"):
            why = f"  {row.reason}" if row.reason else ""
            print(f"  {row.state:9}{_title(row)}  {row.examples:,} examples{why}")
    return 0 if set(counts) <= {"done", "pruned"} else 1


def table(study: Path, rows: list[Row], metrics: list[str], file: str | None) -> None:
    """Print the table, and write it whole to `file` (`.sweep/table.csv` in the study)."""
    every = list(dict.fromkeys(name for row in rows for name in row.values))
    keys = list(dict.fromkeys(key for row in rows for key in row.labels))
    for name in metrics:
        if name not in (known := [*every, *(m.split("@")[0] for m in every)]):
            raise unknown("column", name, dict.fromkeys(known))
    shown = [m for m in every if m in metrics or m.split("@")[0] in metrics]
    shown = shown if metrics else every[:SHOWN]
    path = Path(file) if file else study / ".sweep" / "table.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["run", *keys, *FACTS, *every, "reason"])
        for row in rows:
            writer.writerow([row.name, *_cells(row, keys, every, "{!r}"), row.reason])
    from aigc.lab.listing import table as printed

    head = [*keys, *FACTS, *shown]
    printed(f"{study}, {len(rows)} cells", head, [_cells(row, keys, shown) for row in rows])
    hidden = len(every) - len(shown)
    print(f"{path}{f' ({hidden} more columns)' if hidden else ''}")


def _cells(row: Row, keys: list[str], names: list[str], form: str = "{:.4g}") -> list[str]:
    labels = [row.labels.get(key, "") for key in keys]
    facts = [row.state, str(row.examples), f"{row.seconds:.1f}"]
    values = [form.format(row.values[n]) if n in row.values else "" for n in names]
    return [*labels, *facts, *values]


def _title(row: Row) -> str:
    return titled(row.labels) or row.name
