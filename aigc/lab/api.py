"""The tasks of the command line for Python and notebooks; settings are the same words."""

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


def compare(*runs: Run | str | Path, out: str | Path | None = None) -> Path:
    """The page that compares runs (or folders of runs), as `aigc compare`."""
    from aigc.analysis import report

    folders = [str(run.dir if isinstance(run, Run) else run) for run in runs]
    return report.compare(folders, None if out is None else str(out))[1]
