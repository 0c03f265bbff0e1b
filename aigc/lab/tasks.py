"""The tasks of the command line that take a Hydra configuration; each returns the path to print."""

import hashlib
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

from aigc.lab import build
from aigc.lab.evaluation import evaluate as _evaluate
from aigc.lab.ranks import joined
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
    y, prompt, edit = config["y"], config["prompt"], config["edit"]
    with joined("sample", config) as rank:
        strategy = run.strategy(node)  # it may hold a model, on this process's device
        if config["stream"] and not rank:
            for piece in run.stream(prompt or "", seed, strategy, y):
                print(piece, end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
        samples = run.sample(n, seed, y, strategy, config["batch_size"], prompt, edit)
    label = "" if y is None else "-y" + "_".join(re.findall(r"\w+", str(y)))
    label += f"-{edit['name']}" if edit else ""
    if prompt is not None:
        label += f"-p{hashlib.sha256(prompt.encode()).hexdigest()[:6]}"
    default = run.dir / "samples" / f"{node['name']}-s{seed}{label}-n{n}"
    folder = Path(config["out"] or default)
    return folder if rank else samples.save(folder)


def evaluate(config: dict[str, Any]) -> Path:
    """`aigc evaluate`: the run's folder, its results.jsonl longer by the metrics."""
    build.plugins(config)
    return _evaluate(load(config["run"]), config).path


def child() -> None:
    """One of the processes that `ranks.joined` starts: task and configuration come by standard
    input."""
    asked = json.load(sys.stdin)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank zero ends the others
    {"sample": sample, "evaluate": evaluate}[asked["task"]](asked["config"])
