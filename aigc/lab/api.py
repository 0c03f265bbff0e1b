"""The tasks of the command line for Python and notebooks; settings are the same words."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aigc.analysis.load import Record, collect
from aigc.core.errors import BadInput
from aigc.lab import evaluation, training
from aigc.lab.conf import compose, run_words
from aigc.lab.run import Run, Samples, load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aigc.analysis.compare import Table


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


def sheet(rows: Mapping[str, Samples], columns: Sequence[str] | None = None) -> "Figure":
    """Samples side by side as a figure of matplotlib, a named row each: pictures as they are, sound
    as spectrograms, a table as lines.

    Raises BadInput for text, and for rows that are not of one length and one kind of data.
    """
    from aigc.lab.inspection.show import sheet

    parts = list(rows.values())
    if len({(len(part), part.codec.modality, part.codec.space.shape) for part in parts}) != 1:
        raise BadInput("a sheet needs rows of one length, of data of one shape")
    if parts[0].codec.modality == "text":
        raise BadInput("texts are no pictures: print their .data")
    columns = list(columns or map(str, range(len(parts[0]))))
    ids = torch.cat([part.ids for part in parts])
    figures, _ = sheet(parts[0].codec, ids, list(rows), columns, "samples")
    return figures["samples"]()


def records(*runs: Run | str | Path) -> list[Record]:
    """Judged runs, or those in folders of runs, as their folders tell of them."""
    return collect(_folders(runs))


def tables(
    *runs: Run | str | Path, metrics: list[str] | None = None, by: list[str] | None = None
) -> "list[Table]":
    """The tables of `aigc compare`, one a data set: models and reference rows by columns, with
    `metrics` and `by` as there."""
    from aigc.analysis.compare import tables

    return tables(records(*runs), metrics, by)


def compare(*runs: Run | str | Path, out: str | Path | None = None) -> Path:
    """The page that compares runs (or folders of runs), as `aigc compare`."""
    from aigc.analysis import report

    return report.compare(_folders(runs), None if out is None else str(out))[1]


def _folders(runs: tuple[Run | str | Path, ...]) -> list[str]:
    return [str(run.dir if isinstance(run, Run) else run) for run in runs]
