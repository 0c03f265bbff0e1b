"""What a study's sweeps have asked for and what came of it: `<study>/.sweep/cells.jsonl`.

One line an event, added whole, so that several sweeps may write at once; a cell is what its lines
say together. Runs themselves know whether they are done: this file knows those that never began.
"""

import json
import time
from pathlib import Path
from typing import Any

from aigc.lab.sweeps.cells import Cell


def listed(cells: list[Cell]) -> None:
    """Write down cells before any of them begins."""
    for cell in cells:
        cell.listed = True
        _add(cell, words=[*cell.flags, *cell.words], labels=cell.labels)


def changed(cell: Cell, **facts: Any) -> None:
    """Write down a cell's new state."""
    facts |= {"reason": cell.reason, "tries": cell.tries, "seconds": round(cell.seconds, 2)}
    _add(cell, state=cell.state, **facts)


def read(study: Path) -> dict[str, dict[str, Any]]:
    """The cells of a study by signature, in the order in which they were first asked for; lines
    that a crash cut short are left out."""
    cells: dict[str, dict[str, Any]] = {}
    try:
        lines = (study / ".sweep" / "cells.jsonl").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            row = json.loads(line)
            cells.setdefault(row["cell"], {}).update(row)
        except (ValueError, KeyError, TypeError):
            continue
    return cells


def _add(cell: Cell, **facts: Any) -> None:
    path = cell.run.path.parent / ".sweep" / "cells.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"cell": cell.name, "at": round(time.time(), 3), **facts}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
