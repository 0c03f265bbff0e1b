"""What there is to see and hear of a run's samples, ready to embed in a page."""

import base64
import csv
import io
from pathlib import Path
from typing import Any

from aigc.analysis.compare import Line, Table
from aigc.runs import shown_folder


def wall(line: Line) -> dict[str, Any]:
    """What there is to see or hear of a line's samples."""
    record = line.records[0]
    seeds = sorted({row["seed"] for row in record.rows if row["sampler"] == line.sampler})
    folders = [record.folder(shown_folder(line.sampler, seed)) for seed in seeds]
    folder = next(filter(None, folders), None) or record.folder("preview")
    return {"title": line.title, "detail": line.detail, **media(folder)}


def real_wall(table: Table) -> list[dict[str, Any]]:
    """The same of real data."""
    folder = table.models[0].records[0].folder("real")
    return [{"title": "Real data", "detail": "test split", **media(folder)}] if folder else []


def media(folder: Path | None) -> dict[str, Any]:
    """Rendered files of a folder, ready to embed."""
    out: dict[str, Any] = {"picture": None, "sounds": [], "texts": [], "rows": []}
    if folder is None:
        return out
    if (folder / "grid.png").exists():
        out["picture"] = _data(folder / "grid.png", "image/png")
    out["sounds"] = [_data(f, "audio/wav") for f in sorted(folder.glob("*.wav"))[:6]]
    if (folder / "samples.txt").exists():
        text = (folder / "samples.txt").read_text(encoding="utf-8")
        out["texts"] = text.split("\n--------\n")[:8]
    if (folder / "samples.csv").exists():
        with (folder / "samples.csv").open() as file:
            rows = [row for row, _ in zip(csv.reader(file), range(6))]
        out["rows"] = [[_short(value) for value in row[:6]] for row in rows]
    return out


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value[:18]


def pixels(data: str) -> Any:
    """The array of an embedded picture."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",", 1)[1]))))
