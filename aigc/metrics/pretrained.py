"""Networks whose weights are files of the user's: checked by their hash, never downloaded."""

import hashlib
from pathlib import Path

from torch import Tensor

from aigc.core.errors import BadInput


def read(path: Path, sha256: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file, in float32 where they are floats; BadInput unless it is the
    very file that the network was written for."""
    from safetensors.torch import load_file

    check(path, sha256)
    tensors = load_file(path).items()
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors}


def check(path: Path, sha256: str) -> None:
    """Raise BadInput unless the file has this hash."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    if found != sha256:
        raise BadInput(f"{path} is another file: its sha256 is {found}, not {sha256}")
