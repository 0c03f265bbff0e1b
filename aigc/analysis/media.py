"""What there is to see and hear of a run's samples, ready to embed in a page."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

from aigc.analysis.compare import Line, Table
from aigc.runs import shown_folder

PAGE = 9_000_000  # bytes of media that a page holds at most, before they are encoded
WALLS, PANELS = 24, 12  # lines whose samples, and whose neighbours, are shown
WIDTHS = (640, 480, 320, 240, 160)  # pixels that a picture is brought down to, until it fits


def walls(table: Table, share: int) -> list[dict[str, Any]]:
    """What there is to see or hear of each line's samples, in `share` bytes a line, and of real
    data."""
    out = [
        {"title": line.title, "detail": line.detail, **media(shown(line), share)}
        for line in table.models[:WALLS]
    ]
    folder = table.models[0].records[0].folder("real")
    real = {"title": "Real data", "detail": "test split", **media(folder, share)}
    return [*out, real] if folder else out


def shown(line: Line) -> Path | None:
    """The folder of a line's judged samples, of its first seed."""
    record = line.records[0]
    seeds = sorted({row["seed"] for row in record.rows if row["sampler"] == line.sampler})
    folders = [record.folder(shown_folder(line.sampler, seed)) for seed in seeds]
    return next(filter(None, folders), None) or record.folder("preview")


def neighbours(table: Table, share: int) -> list[dict[str, Any]]:
    """Of each line the samples that lie closest to training data, beside their neighbours; `ratios`
    are their distances over the median of unseen real data."""
    out = []
    for line in table.models[:PANELS]:
        folder = shown(line)
        file = folder / "nearest" / "nearest.json" if folder else None
        if file and file.is_file():
            facts = json.loads(file.read_text())
            scale = facts["real_median"] or 1.0
            ratios = [distance / scale for distance in facts["distances"]]
            pairs = [media(file.parent / str(i), share // len(ratios)) for i in range(len(ratios))]
            real = facts["real_closest"] / scale
            out.append(
                {**facts, "title": line.title, "real": real, "pairs": list(zip(ratios, pairs))}
            )
    return out


def media(folder: Path | None, share: int = PAGE) -> dict[str, Any]:
    """Rendered files of a folder in about `share` bytes, ready to embed."""
    out: dict[str, Any] = {"picture": None, "sounds": [], "texts": [], "rows": []}
    if folder is None:
        return out
    if (folder / "grid.png").exists():
        out["picture"] = _data(fitting(folder / "grid.png", share), "image/png")
    for file in sorted(folder.glob("*.wav"))[:6]:
        share -= file.stat().st_size
        if share > 0:
            out["sounds"].append(_data(file.read_bytes(), "audio/wav"))
    if (folder / "samples.txt").exists():
        text = (folder / "samples.txt").read_text(encoding="utf-8")
        out["texts"] = [part[:2000] for part in text.split("\n--------\n")[:8]]
    if (folder / "samples.csv").exists():
        with (folder / "samples.csv").open() as file:
            rows = [row for row, _ in zip(csv.reader(file), range(6))]
        out["rows"] = [[_short(value) for value in row[:6]] for row in rows]
    return out


def fitting(path: Path, share: int) -> bytes:
    """A picture's bytes, brought down in width until they are no more than `share`."""
    data = path.read_bytes()
    if len(data) <= share:
        return data
    from PIL import Image

    with Image.open(path) as picture:
        for width in WIDTHS:
            small, out = picture.copy(), io.BytesIO()
            small.thumbnail((width, 4 * width))
            small.save(out, "png", optimize=True)
            if len(data := out.getvalue()) <= share:
                break
    return data


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


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
