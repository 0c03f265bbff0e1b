"""The tasks of the command line for Python and notebooks; settings are the same words."""

import json
from pathlib import Path
from typing import Any

from aigc.lab import evaluation, training
from aigc.lab.conf import compose, run_words
from aigc.lab.run import Run, load


def train(*words: str) -> Run:
    """Train unless done, as `aigc train`: `train("model=vae", "modality=image", "seed=1")`."""
    return load(training.train(compose("train", list(words))).path)


def evaluate(run: Run, *words: str) -> list[dict[str, Any]]:
    """Judge a run, as `aigc evaluate`; all rows of its results."""
    both = [f"run={run.dir}", *run_words(run.config, list(words)), *words]
    return evaluation.evaluate(run, compose("evaluate", both)).rows()


def inspect(run: Run, *words: str) -> dict[str, Any]:
    """Look inside a run, as `aigc inspect`; the numbers by part."""
    from aigc.lab.inspection import task

    folder = task.inspect(run, compose("inspect", [f"run={run.dir}", *words]))
    return json.loads((folder / "inspect.json").read_text())["parts"]


def compare(*runs: Run | str | Path, out: str | Path | None = None) -> Path:
    """The page that compares runs (or folders of runs), as `aigc compare`."""
    from aigc.analysis import report

    folders = [str(run.dir if isinstance(run, Run) else run) for run in runs]
    return report.compare(folders, None if out is None else str(out))[1]
