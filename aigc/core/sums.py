"""Sizes and checksums of files, by which one knows that they are as they were written."""

import json
import zlib
from pathlib import Path

SUMS = "sums.json"  # of the other files in a folder


def summed(file: Path) -> list[int]:
    """Size and checksum of a file."""
    crc = 0
    with file.open("rb") as stream:
        while piece := stream.read(2**22):
            crc = zlib.crc32(piece, crc)
    return [file.stat().st_size, crc]


def write_sums(folder: Path) -> None:
    """Note those of all files in a folder."""
    sums = {file.name: summed(file) for file in sorted(folder.iterdir())}
    (folder / SUMS).write_text(json.dumps(sums))


def check_sums(folder: Path) -> bool:
    """Whether a folder holds the files that it lists, and no other; OSError or ValueError where it
    lists none."""
    known = json.loads((folder / SUMS).read_text())
    there = {file.name: summed(file) for file in folder.iterdir() if file.name != SUMS}
    return there == known
