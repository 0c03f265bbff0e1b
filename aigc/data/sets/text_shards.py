"""Your own large text in shards, prepared without being held in memory."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aigc.core.errors import BadInput
from aigc.data.datasets import dataset
from aigc.data.pieces import by_split, columns, groups
from aigc.data.streams import Stream

PIECE = 2**23  # bytes of text that a process reads at once
DOCUMENT = 2**16  # and that a tokenizer does
LINE = 2**26  # the longest of a .jsonl
TEXTS = (".txt", ".jsonl", ".txt.gz", ".jsonl.gz", ".parquet", ".npy")


@dataset("text", kind="own", licence="yours", splits="carved, or folders train/ validation/ test/")
def text_shards(path: str | None = None, column: str = "text") -> Stream:
    """Large text in files: .txt, .jsonl, both also .gz, .parquet, or .npy of tokens.

    `column` is the field of .jsonl and .parquet that holds the text.
    """
    found = by_split(path, "text_shards", TEXTS)
    pieces = {split: _grouped(files, column) for split, files in found.items()}
    return Stream(pieces, read_texts)


def read_texts(piece: tuple) -> Iterator[tuple[list[str] | np.ndarray, None, list[str]]]:
    """The documents of some ranges of files, some megabytes of them at once."""
    ranges, column = piece
    parts, size = [], 0
    for name, start, stop in ranges:
        for text in _documents(Path(name), start, stop, column):
            if isinstance(text, np.ndarray):
                yield text, None, []
                continue
            parts.append(text)
            size += len(text)
            if size >= PIECE:
                yield parts, None, []
                parts, size = [], 0
    if parts:
        yield parts, None, []


def _grouped(files: list[Path], column: str) -> list[tuple]:
    """What is read together: ranges of files, up to some megabytes."""
    pieces, size = [], PIECE
    for file in files:
        for name, start, stop in _ranges_of(file):
            own = PIECE if stop is None else stop - start
            if size + own > PIECE or file.suffix == ".parquet":
                pieces.append(([], column))
                size = 0
            pieces[-1][0].append((name, start, stop))
            size += own
    return pieces


def _ranges_of(file: Path) -> list[tuple]:
    """Ranges of bytes, row groups, or the whole of a file."""
    if file.suffix == ".parquet":
        return [(str(file), group, group + 1) for group in groups(file)]
    if file.suffix in (".gz", ".npy"):
        return [(str(file), 0, None)]
    size = file.stat().st_size
    return [(str(file), at, min(at + PIECE, size)) for at in range(0, size, PIECE)]


def _documents(path: Path, start: int, stop: int | None, column: str) -> Iterator[Any]:
    if path.suffix == ".npy":
        yield from _tokens(path)
    elif path.suffix == ".parquet":
        yield from map(str, columns(path, start, [column])[0])
    elif ".jsonl" in path.name:
        for number, line in _lines(path, start, stop):
            yield _field(path, number, line, column)
    elif path.suffix == ".gz":
        for _, line in _lines(path, start, stop):
            yield _decoded(path, line)
    else:
        yield from _ranges(path, start, stop)


def _ranges(path: Path, start: int, stop: int) -> Iterator[str]:
    """A range of a UTF-8 file in pieces of documents; a letter that a border cuts belongs to the
    piece that it begins in."""
    with path.open("rb") as file:
        file.seek(start)
        raw = file.read(stop - start + 3)
    first = next((i for i in range(min(4, len(raw))) if start and raw[i] >> 6 != 2), 0)
    last = stop - start
    while last < len(raw) and raw[last] >> 6 == 2:
        last += 1
    raw = raw[first:last]
    at = 0
    while at < len(raw):
        end = raw.find(b"\n", at + DOCUMENT) + 1 if len(raw) - at > DOCUMENT else 0
        end = end or len(raw)
        yield _decoded(path, raw[at:end], start + first + at)
        at = end


def _lines(path: Path, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
    """The lines that begin in a range of a file, and where; a compressed one has one range."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            if start:
                file.seek(start - 1)
                file.readline()
            while stop is None or file.tell() < stop:
                at, line = file.tell(), file.readline(LINE)
                if not line:
                    return
                yield at, line
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{path} cannot be unpacked: {error}") from error


def _field(path: Path, at: int, line: bytes, column: str) -> str:
    if not line.strip():
        return ""
    try:
        value = json.loads(line)[column]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}, byte {at}: no JSON with a field '{column}'") from error
    if not isinstance(value, str):
        raise BadInput(f"{path}, byte {at}: field '{column}' is no text")
    return value


def _decoded(path: Path, raw: bytes, at: int = 0) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}, byte {at + error.start}: not UTF-8 ({error.reason})") from error


def _tokens(path: Path) -> Iterator[np.ndarray]:
    """Tokens `(N,)` of a file, some megabytes at once."""
    try:
        tokens = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise BadInput(f"{path} is not an array of numbers: {error}") from error
    if tokens.ndim != 1 or tokens.dtype.kind not in "ui":
        raise BadInput(
            f"{path}: tokens are one row of whole numbers, not {tokens.dtype} of shape "
            f"{tokens.shape}"
        )
    for at in range(0, len(tokens), PIECE):
        yield np.array(tokens[at : at + PIECE])
