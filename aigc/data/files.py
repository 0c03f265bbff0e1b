"""Reading other people's files: whatever is wrong with one is said in a line that names it."""

import csv
import gzip
import io
import re
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from aigc.core.errors import BadInput

MAX_PIXELS = 50_000_000  # refuse a decompression bomb before decoding it
MAX_BYTES = 2**30  # of an archive, unpacked
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # whatever a file is called: PostScript is a program
SOUNDS = {".wav", ".flac", ".ogg", ".mp3"}


def readable(
    files: list[Path], read: Callable[[Path], Any], skip: float | str | None = None
) -> tuple[list[int], list[Any], list[str]]:
    """Which of the files can be read, what is in them, and why the others cannot.

    A bad file is an error unless `skip` (`1%` or 0.01) of them may be left out.
    """
    most, kept, values, bad = share(skip), [], [], []
    for i, file in enumerate(files):
        try:
            values.append(read(file))
            kept.append(i)
        except BadInput as error:
            if not most:
                raise
            bad.append(str(error))
    if len(bad) > most * len(files) or not kept:
        raise BadInput(
            f"{len(bad)} of {len(files)} files cannot be read, more than dataset.skip={skip}; "
            f"the first: {bad[0]}"
        )
    return kept, values, bad


def share(skip: float | str | None) -> float:
    """`1%` or 0.01 as a number; 0 for None."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(skip or 0))
    value = float(number[1]) / (100 if number[2] else 1) if number else -1
    if not 0 <= value < 1:
        raise BadInput(f"dataset.skip={skip}: a share below 1 as 1% or 0.01")
    return value


def own_path(path: str | None, name: str, kind: Literal["file", "folder", "any"] = "any") -> Path:
    """The user's `dataset.path`, which must exist and be a file, a folder or either."""
    if path in (None, ""):
        raise BadInput(f"dataset={name} needs dataset.path=PATH")
    found = Path(str(path))
    if not found.exists():
        raise BadInput(f"dataset.path={path} does not exist")
    if kind != "any" and found.is_dir() != (kind == "folder"):
        raise BadInput(f"dataset.path={path}: dataset={name} needs a {kind}")
    return found


def read_text(path: Path) -> str:
    """A UTF-8 file; the error names the line of the first bad byte."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{line}: not UTF-8 ({error.reason})") from error
    if not text.strip():
        raise BadInput(f"{path} is empty")
    return text


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """A sound file as mono float32 and its rate in Hz."""
    import soundfile

    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise BadInput(f"{path} cannot be read as sound: {error}") from error
    if not len(wave) or not np.isfinite(wave).all():
        raise BadInput(
            f"{path} holds {'no samples' if not len(wave) else 'samples that are not finite'}"
        )
    if (missing := _cut_short(path)) > 0:
        raise BadInput(f"{path} is cut short: {missing} bytes of sound are missing")
    return wave.mean(1), rate


def _cut_short(path: Path) -> int:
    """How many bytes a wav file lacks of what its header promises; decoders return what is
    there."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or file.seek(8) != 8 or file.read(4) != b"WAVE":
            return 0
        size = path.stat().st_size
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                return 0 if length == 2**32 - 1 else length - (size - file.tell())  # a stream
            file.seek(length + length % 2, 1)
    return 0


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV with a header; a row of another length is an error with its line (pandas would pad
    it)."""
    text = read_text(path)
    lines = csv.reader(text.splitlines(keepends=True))
    try:
        return _table(path, lines)
    except (csv.Error, pd.errors.ParserError) as error:
        raise BadInput(f"{path}:{lines.line_num}: {error}") from error


def _table(path: Path, lines: Any) -> pd.DataFrame:
    header = next(lines)
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise BadInput(f"{path}: the header has no comma; separate columns by commas")
    for row in lines:
        if row and len(row) != len(header):
            raise BadInput(
                f"{path}:{lines.line_num}: {len(row)} fields, but the header has {len(header)}"
            )
    frame = pd.read_csv(path)
    if not len(frame):
        raise BadInput(f"{path} has a header and no rows")
    endless = np.isinf(frame.select_dtypes("number")).any(axis=1)
    if endless.any():
        raise BadInput(f"{path}: row {int(endless.argmax()) + 1} holds a number that is not finite")
    return frame


def read_picture(path: Path, size: int | None, raw: bytes | None = None) -> np.ndarray:
    """A picture as `uint8 (C, H, W)`, grey or RGB; `size` cuts the middle square and resizes it.

    `raw` are its bytes where they lie in no file of their own, and `path` is then what to call it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path if raw is None else io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadInput(
                    f"{path} has {image.width} x {image.height} pixels, more than {MAX_PIXELS}"
                )
            if image.mode.startswith("I;16"):  # Pillow would clip all above 255 to white
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            image = image.convert("L" if image.mode in ("1", "L") else "RGB")
            if size is not None:
                side = min(image.size)
                left, top = (image.width - side) // 2, (image.height - side) // 2
                box = (left, top, left + side, top + side)
                image = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
            pixels = np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise BadInput(f"{path} cannot be read as a picture: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def unpacked(path: Path) -> bytes:
    """What a .gz holds; a bomb is refused before it fills the memory."""
    try:
        with gzip.open(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{path} cannot be unpacked: {error}") from error
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{path} unpacks to more than {MAX_BYTES:,} bytes")
    return raw


def read_gzip(path: Path) -> str:
    """A compressed UTF-8 file."""
    try:
        return unpacked(path).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} cannot be unpacked: {error}") from error


def read_idx(path: Path) -> np.ndarray:
    """An idx file of unsigned bytes (the format of MNIST), as it is or as .gz."""
    raw = unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    if raw[:3] != b"\x00\x00\x08":
        raise BadInput(f"{path} is not an idx file of unsigned bytes")
    shape = tuple(np.frombuffer(raw, ">u4", raw[3], offset=4).tolist())
    data = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if len(data) != np.prod(shape):
        raise BadInput(f"{path} is cut short: {len(data)} bytes of {np.prod(shape)}")
    return data.reshape(shape)


def walk_classes(root: Path, endings: set[str]) -> tuple[list[Path], np.ndarray, list[str]]:
    """The files below `root`, their labels by first sub-folder, and the names of the classes."""
    found = (f for f in root.rglob("*") if f.suffix.lower() in endings)
    files = sorted(
        f for f in found if not any(p.startswith(".") for p in f.relative_to(root).parts)
    )
    if not files:
        raise BadInput(f"{root} holds no file ending in {', '.join(sorted(endings))}")
    owners = [f.relative_to(root).parts[0] if f.parent != root else "" for f in files]
    names = sorted(set(owners))
    return files, np.array([names.index(owner) for owner in owners]), names


def read_pictures(
    root: Path, size: int | None, skip: float | str | None = None
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """All pictures below `root` as one array, their labels, the names of the classes and what was
    left out; mixed grey and colour becomes colour."""
    if size is not None and size < 1:
        raise BadInput(f"dataset.size={size}: at least 1")
    files, y, names = walk_classes(root, PICTURES)
    kept, pictures, bad = readable(files, lambda f: read_picture(f, size), skip)
    files, y = [files[i] for i in kept], y[kept]
    channels = max(len(p) for p in pictures)
    pictures = [np.broadcast_to(p, (channels, *p.shape[1:])) for p in pictures]
    odd = next((f for f, p in zip(files, pictures) if p.shape != pictures[0].shape), None)
    if odd:
        raise BadInput(f"{odd} differs in size from {files[0]}: set dataset.size to resize all")
    return np.stack(pictures), y, names, bad


def download(url: str, path: Path, otherwise: Exception, check: Callable[[bytes], bool]) -> None:
    """Fetch a file into place whole or not at all; raises `otherwise` when there is no network."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            content = response.read()
    except OSError as error:
        raise otherwise from error
    if not check(content):
        raise BadInput(f"{url} gave something else than expected ({len(content)} bytes)")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)
