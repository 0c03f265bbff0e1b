"""How a run begins: afresh, or where an unfinished attempt was saved; and how it ends early."""

import json
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities.exceptions import SIGTERMException

from aigc.core.errors import BadInput
from aigc.data.store import Store
from aigc.lab.callbacks import Log
from aigc.lab.checkpoint import (
    Damaged,
    clear_parts,
    examples_of,
    newest,
    remove,
    saved_states,
    sound,
)
from aigc.lab.guards import ADVICE, Guard, OutOfMemory, out_of_memory
from aigc.lab.loggers import lost_rows
from aigc.lab.signals import Requeued, requeue
from aigc.runs import RunDir

CARRIED = ("log.csv", "events.jsonl")


def begin(config: dict[str, Any], run: RunDir, env: dict[str, Any]) -> Path | None:
    """Make the run's folder ready to train in, and give the file to go on from, if any."""
    checkpoint, warning = starting_point(run, config["resume"])
    folder = run / "checkpoints"
    if checkpoint is None:
        run.start(config, env)
    elif checkpoint.parent.resolve() == folder.resolve():
        _compare(run, env)
        run.go_on()
    else:
        run.start(config, env)
        _carry(RunDir(checkpoint.parents[1]), run)
    seen = examples_of(checkpoint) if checkpoint else 0
    for file in saved_states(folder):
        if examples_of(file) > seen:  # damaged, or of a future that will come again
            remove(file)
    if checkpoint or warning:
        run.event("resumed", examples=seen, warning=warning, commit=env["commit"])
        print(warning or f"going on from {seen:,} examples", file=sys.stderr)
    clear_parts(run.path)
    return checkpoint


def starting_point(run: RunDir, resume: str) -> tuple[Path | None, str]:
    """The file that training goes on from, or None to begin afresh, and what to say about it.

    `auto` takes the newest sound state of the run itself, and `DIR` that of another folder of the
    same run; a file that is named is taken or refused, never replaced.
    """
    if resume == "never":
        return None, ""
    if resume.endswith(".ckpt"):
        if not sound(Path(resume)):
            raise Damaged(f"resume={resume}: damaged or missing")
        return Path(resume), ""
    folder = (run if resume == "auto" else RunDir(resume)) / "checkpoints"
    file, damaged = newest(folder)
    if resume != "auto" and file is None:
        raise BadInput(f"resume={resume}: no sound last-*.ckpt in {folder}")
    if not damaged:
        return file, ""
    kept = examples_of(file) if file else 0
    lost = examples_of(damaged[0]) - kept
    names = ", ".join(d.name for d in damaged)
    return file, f"{names} damaged: going on from {kept:,} examples, {lost:,} lost"


def _carry(source: RunDir, run: RunDir) -> None:
    """Take over the history of an attempt in another folder."""
    files = [source / name for name in CARRIED if (source / name).is_file()]
    for file in files:
        shutil.copy(file, run / file.name)
    for file in (source / "checkpoints").glob("best-*.ckpt"):
        copy = shutil.copytree if file.is_dir() else shutil.copy
        copy(file, run / "checkpoints" / file.name)


def _compare(run: RunDir, env: dict[str, Any]) -> None:
    """Warn where the first part of the run was trained by other code."""
    try:
        was = json.loads((run / "env.json").read_text())
    except (OSError, ValueError):
        return
    for name in ("commit", "versions", "gpu", "threads"):
        if was.get(name) != env[name]:
            print(f"the run began with {name} {was.get(name)}, now {env[name]}", file=sys.stderr)


def ended(error: BaseException, trainer: L.Trainer | None) -> BaseException:
    """What to raise for an error that ended a run: SIGTERM is exit code 143, memory that ran out
    is advice; no other rank is left behind."""
    launcher = trainer.strategy.launcher if trainer else None
    if hasattr(launcher, "kill"):
        with suppress(OSError):
            launcher.kill(signal.SIGKILL)
    if isinstance(error, Requeued) and trainer.is_global_zero:
        requeue()
    if isinstance(error, SIGTERMException):
        return SystemExit(128 + signal.SIGTERM)
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return KeyboardInterrupt()  # Lightning makes it exit code 1
    return OutOfMemory(f"{ADVICE} ({error})") if out_of_memory(error) else error


def tell_skipped(run: RunDir, store: Store) -> None:
    """Say which files of the data were left out."""
    if skipped := store.meta.get("skipped"):
        run.event("skipped_files", count=len(skipped), files=skipped)
        print(f"{len(skipped)} files left out, the first: {skipped[0]}", file=sys.stderr)


def losses(log: Log, guard: Guard | None, guests: list) -> dict[str, Any]:
    """What did not go as planned in a run that ended well; said aloud, and for `status.json`."""
    out = {
        "skipped_steps": guard.skipped if guard else 0,
        "unwritten_log_rows": log.unwritten.count("\n"),
        "lost_logger_rows": lost_rows(guests),
    }
    out = {name: value for name, value in out.items() if value}
    if out:
        print(f"the run ended with {out}", file=sys.stderr)
    return out
