"""Checkpoint files that survive: written whole or not at all, and read only when sound."""

import errno
import os
import re
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.sums import check_sums

# A state of several processes is a folder: safetensors, what is no tensor, and the sums of both.
STATE = "state.pt"


class Damaged(BadInput):
    """A checkpoint that cannot be read, or whose bytes are not those that were written."""


class AtomicIO(TorchCheckpointIO):
    """Writes beside the target, syncs and renames; refuses weights that are not finite; verifies
    every byte before it loads, and loads no code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options=None) -> None:
        """Write `checkpoint` to `path` whole or not at all; raises OSError for a full disk and
        FloatingPointError for weights that are not finite."""
        if not finite(checkpoint.get("state_dict"), checkpoint.get("current_model_state")):
            raise FloatingPointError(
                "the weights are not finite: the run has diverged, lower the rate"
            )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part-{os.getpid()}")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException as error:
            with suppress(OSError):
                part.unlink()
            if cause := _disk_error(error):
                raise OSError(cause.errno, "disk full, not written", str(path)) from error
            raise
        sync(path.parent)

    def load_checkpoint(self, path, map_location=lambda storage, _: storage, weights_only=True):
        """The checkpoint at `path`; raises Damaged for one that is not as it was written."""
        if not sound(Path(path)):
            raise Damaged(f"{path} is damaged, missing or no plain data")
        return torch.load(path, map_location=map_location, weights_only=True)


def saved_states(folder: Path) -> list[Path]:
    """The files in a folder that training can go on from, newest first."""
    return sorted(folder.glob("last-*.ckpt"), reverse=True)


def examples_of(file: Path) -> int:
    """How many examples a run had seen when it wrote this file."""
    return int(re.sub(r"\D", "", file.stem) or 0)


def newest(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest sound file to go on from, and the damaged ones that are newer."""
    damaged = []
    for file in saved_states(folder):
        if sound(file):
            return file, damaged
        damaged.append(file)
    return None, damaged


def sound(file: Path) -> bool:
    """Whether a checkpoint is as it was written, by the checksums in it, and nothing but data; a
    folder is one that several processes wrote."""
    try:
        if file.is_dir():
            return check_sums(file) and sound(file / STATE)
        with zipfile.ZipFile(file) as archive:
            packed = any(m.compress_type != zipfile.ZIP_STORED for m in archive.infolist())
            if packed or archive.testzip() is not None:  # torch packs nothing, a bomb does
                return False
        torch.load(file, map_location="cpu", mmap=True, weights_only=True)  # reads the index only
    except Exception:  # whatever readers say of bytes that are not what they should be
        return False
    return True


def finite(*states: dict[str, Tensor] | None) -> bool:
    """Whether all numbers of some state dicts are; asks the device once."""
    values = [v for state in states if state for v in state.values() if v.is_floating_point()]
    return not values or bool(torch.stack([torch.isfinite(v).all() for v in values]).all())


def remove(path: Path) -> None:
    """Remove a state, be it a file or a folder; nothing where there is none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove what writers that were killed have left; for the one process that holds the run."""
    for part in folder.glob("**/.*.part-*"):
        remove(part)


def rehearse(folder: Path, parameters: int) -> None:
    """Fail before the first step where a checkpoint could not be saved later: the folder cannot be
    written, or has no room for three."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny = folder / "rehearsal.ckpt"
    AtomicIO().save_checkpoint({"state_dict": {"x": torch.arange(3.0)}}, tiny)
    AtomicIO().load_checkpoint(tiny)
    tiny.unlink()
    needed = 3 * 16 * parameters  # weights, their average and two moments in 32 bits
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadInput(
            f"{folder}: {free / 1e9:.1f} GB free, three checkpoints need {needed / 1e9:.1f} GB"
        )


def _disk_error(error: BaseException | None) -> OSError | None:
    """The full disk behind an error: torch reports one as `unexpected pos`."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    while error is not None:
        if isinstance(error, OSError) and error.errno in full:
            return error
        error = error.__cause__ or error.__context__
    return None


def sync(path: Path) -> None:
    """Make a file, or a rename in a folder, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
