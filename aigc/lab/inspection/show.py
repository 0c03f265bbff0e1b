"""Rows of samples as a figure or as HTML, whatever they are."""

from collections.abc import Callable
from html import escape
from typing import Any

from torch import Tensor

from aigc.analysis import anatomy
from aigc.modalities.base import Codec

Figures = dict[str, Callable[[], Any]]


def sheet(
    codec: Codec, ids: Tensor, rows: list[str], columns: list[str], name: str
) -> tuple[Figures, str]:
    """Samples `(R * C, *shape)` laid out in named rows and columns: pictures and spectrograms as
    a grid, tables as lines, texts as HTML."""
    if codec.modality == "text":
        return {}, text_rows(codec.decode(ids), rows, columns)
    if codec.modality == "tabular":
        x = codec.field(ids)[:, ordered_fields(codec)].unflatten(0, (len(rows), -1)).numpy()
        names = [c["name"] for c in codec.columns if c["ordered"]]
        return {name: lambda: anatomy.profiles(x, rows, columns, names)}, ""
    pictures = codec.pictures(ids)
    pictures = pictures.reshape(len(rows), len(columns), *pictures.shape[1:])
    return {name: lambda: anatomy.sheet(pictures, rows, columns)}, ""


def ordered_fields(codec: Codec) -> list[int]:
    """Where the ordered columns of a table stand in the codec's field."""
    out, place = [], 0
    for levels, ordered in zip(codec.space.levels, codec.space.ordered):
        if ordered:
            out.append(place)
        place += 1 if ordered else levels
    return out


def text_rows(texts: list[str], rows: list[str], columns: list[str]) -> str:
    """A block of lines a row."""
    blocks = []
    for i, row in enumerate(rows):
        lines = texts[i * len(columns) : (i + 1) * len(columns)]
        body = "\n".join(
            f"{place:>6}  {escape(' '.join(text.split()))}" for place, text in zip(columns, lines)
        )
        blocks.append(f"<h3>{escape(row)}</h3><pre>{body}</pre>")
    return "".join(blocks)
