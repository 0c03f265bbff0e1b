"""`aigc runs`: what runs there are, what they cost, and what of them nobody needs any more."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from aigc.core.errors import BadInput
from aigc.runs import RunDir, runs_root


def main(words: list[str]) -> None:
    """`aigc runs [clean] [DIR]`: list the runs below DIR, or remove what no result needs."""
    clean = words[:1] == ["clean"]
    rest = words[1:] if clean else words
    if len(rest) > 1:
        raise BadInput(f"runs takes one folder, not '{rest[1]}'")
    root = Path(rest[0]) if rest else runs_root()
    runs = RunDir.below(root)
    if not runs:
        raise BadInput(f"no runs in {root}")
    if clean:
        freed = sum(sum(cleaned(run)) for run in runs)
        print(f"freed {freed / 1e6:,.1f} MB")
        return
    for run in runs:
        print(line(run))


def line(run: RunDir) -> str:
    """State, examples seen, seconds of training, megabytes, rows of results, and the folder."""
    status, rows = run.status, len(run.rows())
    seconds, size = status.get("train_seconds", 0), size_of(run.path) / 1e6
    facts = f"{run.state:8}{status.get('examples', 0):>12,}{seconds:>10,.0f} s{size:>10,.1f} MB"
    reason = f"  {status['reason']}" if run.state == "failed" and "reason" in status else ""
    return f"{facts}{rows:>5} rows  {run}{reason}"


def cleaned(run: RunDir) -> Iterator[int]:
    """Remove what cannot count: the states of runs that are done, files that killed writers left,
    and whole runs that failed before they saved anything. Bytes freed, piece by piece.

    A run that is being trained is left alone, and so is everything that a result rests on.
    """
    state = run.state
    if state == "running":
        return
    run.check_links()
    folder = run / "checkpoints"
    spare = list(run.path.glob("**/.*.part-*"))
    spare += folder.glob("*.ckpt") if state == "done" else []
    for file in spare:
        yield size_of(file) if file.is_dir() else file.stat().st_size
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    unfinished = state in ("failed", "stale") and not run.rows()
    if unfinished and not list(folder.glob("last-*.ckpt")):
        yield size_of(run.path)
        shutil.rmtree(run.path)


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if not f.is_symlink() and f.is_file())
