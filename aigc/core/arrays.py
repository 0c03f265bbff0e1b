"""Arrays that someone else may have written."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from aigc.core.errors import BadInput

MAX_BYTES = 2**31  # of all arrays, unpacked


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file; BadInput for what is none, holds objects (which are pickles) or
    unpacks to more than `MAX_BYTES`."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise BadInput(f"{path} unpacks to {size:,} bytes, more than {MAX_BYTES:,}")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except BadInput:
        raise
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is no .npz file of arrays: {error}") from error
