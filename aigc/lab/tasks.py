"""The tasks of the command line that take a Hydra configuration; each returns the path to print."""

import re
from pathlib import Path
from typing import Any

from aigc.lab import build
from aigc.lab.evaluation import evaluate as _evaluate
from aigc.lab.run import load
from aigc.lab.training import train as _train


def train(config: dict[str, Any]) -> Path:
    """`aigc train`: the run's folder."""
    return _train(config).path


def sample(config: dict[str, Any]) -> Path:
    """`aigc sample`: the folder with the samples."""
    build.plugins(config)
    run = load(config["run"])
    n, seed, node = config["n"], config["seed"], config["sampler"]
    samples = run.sample(
        n, seed, config["y"], build.sampler(node, run.config["model"]["name"]), config["batch_size"]
    )
    words = re.findall(r"\w+", str(config["y"]))
    label = "" if config["y"] is None else f"-y{'_'.join(words)}"
    default = run.dir / "samples" / f"{node['name']}-s{seed}{label}-n{n}"
    return samples.save(config["out"] or default)


def evaluate(config: dict[str, Any]) -> Path:
    """`aigc evaluate`: the run's folder, its results.jsonl longer by the metrics."""
    build.plugins(config)
    return _evaluate(load(config["run"]), config).path
