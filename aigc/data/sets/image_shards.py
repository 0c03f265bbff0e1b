"""Your own many pictures in shards or folders, prepared without being held in memory."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from aigc.core import caption
from aigc.core.errors import BadInput
from aigc.data.datasets import dataset
from aigc.data.files import PICTURES, own_path, read_picture, walk_classes
from aigc.data.pieces import SPLITS, by_split, columns, groups, parquet
from aigc.data.streams import Stream

AT_ONCE = 256  # pictures
LARGEST = 2**26  # bytes of a picture in an archive, before it is read
CAPTION = 1024  # bytes of one, as all are as long as the longest
ARCHIVES = (".tar", ".parquet")


@dataset("image", kind="own", licence="yours", splits="carved, or folders train/ validation/ test/")
def image_shards(
    path: str | None = None, size: int | None = None, skip: float | str | None = None
) -> Stream:
    """Many pictures: .tar shards in the manner of WebDataset (x.jpg beside x.cls, or a caption in
    x.txt or x.json), .parquet of `datasets` (columns image and label, or caption), or folders whose
    sub-folders are classes."""
    root = own_path(path, "image_shards")
    archives = root.is_file() or any(f.suffix in ARCHIVES for f in root.rglob("*"))
    if archives:
        found = by_split(path, "image_shards", ARCHIVES)
        pieces = {
            split: [(str(f), size, group) for f in files for group in groups(f)]
            for split, files in found.items()
        }
        return Stream(pieces, read_archive, labelled=_labelled(pieces["train"][0]), skip=skip)
    folders = {s: root / s for s in SPLITS if (root / s).is_dir()}
    names = walk_classes(folders.get("train", root), PICTURES)[2]
    pieces = {s: _folder(f, names, size) for s, f in (folders or {"train": root}).items()}
    many = len(names) > 1
    return Stream(pieces, read_folder, names if many else [], labelled=many, skip=skip)


def read_archive(piece: tuple) -> Iterator[tuple[np.ndarray, np.ndarray | None, list[str]]]:
    """The pictures of a tar or of a row group, some hundred at once."""
    name, size, group = piece
    path = Path(name)
    rows = _in_parquet(path, group) if path.suffix == ".parquet" else _in_tar(path)
    yield from _batches(rows, size)


def read_folder(piece: tuple) -> Iterator[tuple[np.ndarray, np.ndarray | None, list[str]]]:
    """The pictures of a list of files."""
    files, labels, size = piece
    yield from _batches(((file, file, y) for file, y in zip(files, labels)), size)


def _batches(
    rows: Iterator[tuple[str, Any, int | str | None]], size: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray | None, list[str]]]:
    """Names, pictures (a file or its bytes) and labels to arrays; what cannot be read is named."""
    pictures, labels, bad, channels = [], [], [], None
    for name, source, y in rows:
        try:
            picture = read_picture(Path(name), size, source if isinstance(source, bytes) else None)
            channels = channels or len(picture)
            if len(picture) != channels:
                raise BadInput(f"{name} has {len(picture)} channels, others {channels}")
            if pictures and picture.shape != pictures[0].shape:
                raise BadInput(f"{name} differs in size from others: set dataset.size")
        except BadInput as error:
            bad.append(str(error))
            continue
        pictures.append(picture)
        labels.append(y)
        if len(pictures) == AT_ONCE:
            yield np.stack(pictures), _numbers(labels), bad
            pictures, labels, bad = [], [], []
    if pictures or bad:
        yield np.stack(pictures) if pictures else np.empty(0), _numbers(labels), bad


def _numbers(labels: list[int | str | None]) -> np.ndarray | None:
    if None in labels or not labels:
        return None
    kinds = {type(y) for y in labels}
    if len(kinds) > 1:
        raise BadInput("some pictures have a class and some have a caption")
    if kinds == {str}:
        return caption.encode(labels, max(len(text.encode()) for text in labels)).numpy()
    return np.array(labels, np.int64)


def _in_parquet(path: Path, group: int) -> Iterator[tuple[str, bytes, int | str | None]]:
    """Pictures as `datasets` keeps them: a struct with their bytes, and a label or a caption."""
    given = [name for name in ("label", "caption") if name in parquet(path).schema_arrow.names]
    image, *label = columns(path, group, ["image", *given[:1]])
    for i, (value, y) in enumerate(zip(image, label[0] if label else [None] * len(image))):
        raw = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(raw, bytes):
            raise BadInput(f"{path}, row {i} of group {group}: column image holds no bytes")
        yield f"{path}:{group}:{i}.png", raw, y


def _in_tar(path: Path) -> Iterator[tuple[str, bytes, int | str | None]]:
    """Samples of a WebDataset shard: neighbours of one name, a picture and perhaps its class, or
    else its caption."""
    picture: tuple[str, bytes] | None = None
    key, label = None, None
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                own = str(name.parent / name.name.partition(".")[0])
                if own != key:
                    if picture:
                        yield *picture, label
                    key, picture, label = own, None, None
                if not member.isfile():
                    continue
                if member.size > LARGEST:
                    raise BadInput(
                        f"{path}:{name} has {member.size:,} bytes, more than {LARGEST:,}"
                    )
                if name.suffix.lower() in PICTURES:
                    picture = f"{path}:{name}", archive.extractfile(member).read()
                elif name.suffix == ".cls":
                    text = archive.extractfile(member).read().strip()
                    if not text.isdigit():
                        raise BadInput(f"{path}:{name} is no class number")
                    label = int(text)
                elif name.suffix in (".txt", ".json") and label is None:
                    label = _caption(archive.extractfile(member).read(), f"{path}:{name}")
            if picture:
                yield *picture, label
    except (tarfile.TarError, EOFError) as error:
        raise BadInput(f"{path} cannot be read as tar: {error}") from error


def _caption(raw: bytes, name: str) -> str | None:
    """The text of a .txt, or the field `caption` of a .json where it has one."""
    try:
        text = raw.decode()
        text = json.loads(text).get("caption") if name.endswith(".json") else text
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{name} holds no caption: {error}") from error
    if text is None:
        return None
    if not isinstance(text, str) or len(text.encode()) > CAPTION:
        raise BadInput(f"{name}: a caption is a text of at most {CAPTION} bytes")
    return text.strip()


def _labelled(piece: tuple) -> bool:
    """Whether the first picture of an archive has a class or a caption."""
    first = next(read_archive(piece), None)
    return first is not None and first[1] is not None


def _folder(root: Path, names: list[str], size: int | None) -> list[tuple]:
    files, y, own = walk_classes(root, PICTURES)
    if odd := [name for name in own if name not in names]:
        raise BadInput(f"{root} has a class '{odd[0]}' that train has not")
    labels = [names.index(own[i]) if len(names) > 1 else None for i in y]
    step = 2 * AT_ONCE
    return [
        ([str(f) for f in files[at : at + step]], labels[at : at + step], size)
        for at in range(0, len(files), step)
    ]
