"""Shards of large data on disk: which there are, and row groups of parquet."""

from pathlib import Path
from typing import Any

from aigc.core.errors import BadInput
from aigc.data.files import own_path

SPLITS = ("train", "validation", "test")


def by_split(path: str | None, name: str, endings: tuple[str, ...]) -> dict[str, list[Path]]:
    """The shards below a folder in the order of their names, by split where it has folders for
    them; or the one shard."""
    root = own_path(path, name)
    folders = {s: root / s for s in SPLITS if (root / s).is_dir()}
    if folders and "train" not in folders:
        raise BadInput(f"dataset.path={path} has {' and '.join(folders)} but no train")
    found = {
        split: [root] if root.is_file() else sorted(f for f in root.rglob("*") if _is(f, endings))
        for split, root in (folders or {"train": root}).items()
    }
    for split, files in found.items():
        if not files or not all(_is(f, endings) for f in files):
            raise BadInput(f"dataset.path={path}: no {split} file ending in {', '.join(endings)}")
    return found


def _is(file: Path, endings: tuple[str, ...]) -> bool:
    return file.is_file() and file.name.endswith(endings) and not file.name.startswith(".")


def groups(file: Path) -> list[int | None]:
    """Row groups of a parquet file; a tar is one piece."""
    if file.suffix != ".parquet":
        return [None]
    return list(range(parquet(file).num_row_groups))


def parquet(path: Path) -> Any:
    """A parquet file, opened; BadInput where it is none or pyarrow is not there."""
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise BadInput(f"{path}: parquet needs pyarrow: pip install 'aigc[parquet]'") from error
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} cannot be read as parquet: {reason}") from error


def columns(path: Path, group: int, names: list[str]) -> list[list[Any]]:
    """Some columns of a row group; BadInput where there is no such one."""
    file = parquet(path)
    known = file.schema_arrow.names
    if missing := [name for name in names if name not in known]:
        raise BadInput(f"{path} has no column '{missing[0]}': it has {', '.join(known)}")
    table = file.read_row_group(group, names)
    return [table.column(name).to_pylist() for name in names]
