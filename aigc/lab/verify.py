"""`aigc verify`: whether a run's folder is what the run wrote, and if not, what is damaged."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from aigc.core.errors import BadInput
from aigc.core.sums import check_sums
from aigc.runs import NotARun, RunDir, signature

NEEDED = ("metric", "value", "protocol")  # of a row of results


def main(words: list[str]) -> None:
    """`aigc verify DIR...`: one line a run; exit code 1 where one is damaged."""
    if not words:
        raise BadInput("verify takes folders of runs, or of studies")
    runs = [run for word in words for run in _runs(word)]
    damaged = False
    for run in runs:
        faults = list(faults_of(run))
        damaged |= bool(faults)
        print(f"{run}  {run.state}  {'; '.join(faults) or 'sound'}")
    if damaged:
        sys.exit(1)


def faults_of(run: RunDir) -> Iterator[str]:
    """What is wrong with a run's folder, one line each."""
    try:
        config = run.config
        if (name := signature(config)) != run.path.name:
            yield f"config.yaml gives the name {name}"
    except (NotARun, KeyError, TypeError) as error:
        yield f"config.yaml: {error}"
    yield from _weights(run)
    for file in sorted((run / "checkpoints").glob("*.ckpt")):
        if not _whole(file):
            yield f"{file.name} is damaged"
    for table in ("results.jsonl", "references.jsonl", "events.jsonl"):
        try:
            rows = run.rows(table)
        except (NotARun, UnicodeDecodeError) as error:
            yield str(error)
            continue
        bad = [
            i for i, row in enumerate(rows, 1) if table[0] == "r" and not set(NEEDED) <= set(row)
        ]
        if bad:
            yield f"{table}: row {bad[0]} lacks its protocol"


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weights(run: RunDir) -> Iterator[str]:
    file, status = run / "checkpoints" / "model.safetensors", run.status
    if not run.is_done:
        return
    if not file.is_file():
        yield "model.safetensors is missing"
    elif (known := status.get("weights")) and digest(file) != known:
        yield "model.safetensors is not the file that the run wrote"
    elif not _indexed(file):
        yield "model.safetensors is cut short"


def _indexed(file: Path) -> bool:
    """Whether a safetensors file is as long as its index says."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            index = json.loads(stream.read(min(length, 100_000_000)))
        ends = [value["data_offsets"][1] for name, value in index.items() if name != "__metadata__"]
        return file.stat().st_size == 8 + length + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _whole(file: Path) -> bool:
    try:
        if file.is_dir():
            return check_sums(file)
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # whatever readers say of bytes that are not what they should be
        return False


def _runs(word: str) -> list[RunDir]:
    run = RunDir(word)
    runs = [run] if (run / "config.yaml").exists() else RunDir.below(word)
    if not runs:
        raise BadInput(f"{word} holds no run: verify takes folders of runs, or of studies")
    return runs
