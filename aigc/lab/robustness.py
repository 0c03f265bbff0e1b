"""`aigc robustness`: how fast a model's loss grows with attacks, noise and corruption of test
data."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc.analysis.robustness import draw
from aigc.core.errors import BadInput
from aigc.core.rng import seeds
from aigc.data.corrupt import CORRUPTIONS, Corruption
from aigc.families.adversary import Adversary
from aigc.lab import build
from aigc.lab.callbacks import reseed
from aigc.lab.run import Run, load
from aigc.runs import RunDir, write_atomic

Row = dict[str, Any]


def main(words: list[str]) -> None:
    """Measure the run of `run=DIR`, runs of a list or those of a study; print the figure's path."""
    from aigc.lab.conf import compose

    if not any(word.startswith("run=") and word != "run=" for word in words):
        raise BadInput("say which run: run=DIR, the folder that `aigc train` printed last")
    config = compose("robustness", words)
    build.plugins(config)
    given = config["run"] if isinstance(config["run"], list) else [config["run"]]
    folders = [run for path in given for run in _runs(path)]
    for i, folder in enumerate(folders, 1):
        print(f"{i}/{len(folders)}  {folder}", file=sys.stderr, flush=True)
        rows = measure(load(folder.path), config)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(folder / "robustness.jsonl", text)
    alone = len(folders) == 1
    place = Path(config["out"] or (folders[0].path if alone else folders[0].path.parent))
    print(draw(folders, place / "robustness.png"), flush=True)


def _runs(path: str) -> list[RunDir]:
    """A finished run, or the finished runs of a study."""
    inside = [run for run in RunDir.below(path) if run.is_done]
    is_run = (Path(path) / "config.yaml").is_file()
    return inside if inside and not is_run else [RunDir.finished(path)]


@dataclass(frozen=True)
class Noise(Adversary):
    """A random change as large as an attack's."""

    def change(self, at: Any, delta: Tensor, scale: float = 1.0) -> Tensor:
        """The same for every look at the model, and other than what the model draws itself."""
        generator = torch.Generator(delta.device).manual_seed(len(delta))
        random = torch.randn(delta.shape, generator=generator, device=delta.device)
        return self.eps * scale * self.direction(random)


def measure(run: Run, config: dict[str, Any]) -> list[Row]:
    """Rows of the report: a mean score of test examples for each change and its size.

    Scores are the training objective in evaluation mode; of a model with a critic, minus its mean
    score. All sizes share the model's own randomness, so that differences are due to the change.
    A categorical likelihood rounds what it is to reconstruct: no attack sees through that.
    """
    ids, y = run.store.examples("test", config["n"])
    sizes, strengths, steps = config["eps"], config["strengths"], config["steps"]
    if min([*sizes, *strengths], default=0) < 0 or max(strengths, default=0) > 1:
        raise BadInput("robustness: eps from 0, strengths from 0 to 1")
    if steps < 2 or config["n"] < 2:
        raise BadInput("robustness: steps and n at least 2")
    attacks: dict[str, Callable[[float], Adversary]] = {
        "fgm": lambda eps: Adversary(eps, share=1.0),
        "pgd": lambda eps: Adversary(eps, steps, share=1.0),
        "random": lambda eps: Noise(eps, share=1.0),
    }
    score = Score(run, ids, y, config["batch_size"], config["seed"])
    rows = []
    for name, attack in attacks.items():
        kind = "random" if name == "random" else "attack"
        rows += [score.row(name, kind, eps, attack=attack(eps)) for eps in sizes]
    for name, corruption in CORRUPTIONS[run.codec.modality].items():
        rows += [score.row(name, "corruption", s, corruption=corruption(s)) for s in strengths]
    facts = {"run": run.dir.path.name, "family": run.config["model"]["name"], "steps": steps}
    facts |= {"data": f"{run.store.meta['name']}/test#{run.store.meta['hash']}"}
    return [{**row, **facts, "seed": config["seed"]} for row in rows]


@dataclass(frozen=True)
class Score:
    """What a model makes of test examples, as they are or changed."""

    run: Run
    ids: Tensor
    y: Tensor | None
    batch: int
    seed: int

    def row(
        self,
        name: str,
        kind: str,
        size: float,
        attack: Adversary | None = None,
        corruption: Corruption | None = None,
    ) -> Row:
        """The mean over examples, with the standard error of the means of batches."""
        values, weights = [], []
        for i, ids in enumerate(self.ids.split(self.batch)):
            y = None if self.y is None else self.y[i * self.batch :][: len(ids)]
            values.append(self._value(i, ids, y, attack, corruption))
            weights.append(len(ids))
        each, weight = torch.tensor(values), torch.tensor(weights) / len(self.ids)
        error = float(each.std() / len(each) ** 0.5) if len(each) > 1 else None
        row = {"change": name, "kind": kind, "size": size, "value": float((each * weight).sum())}
        return {**row, "sd": error, "n": len(self.ids), "score": self.name}

    @property
    def name(self) -> str:
        """What is scored."""
        return "critic" if hasattr(self.run.model, "scores") else "loss"

    def _value(self, i: int, ids: Tensor, y: Any, attack: Any, corruption: Any) -> float:
        model = self.run.model
        ids, y = ids.to(model.device), None if y is None else y.to(model.device)
        reseed(seeds(self.seed, 4, i), model.device)
        x = model.view.encode(corruption(ids, self.run.codec) if corruption else ids)
        reseed(seeds(self.seed, 3, i), model.device)

        def objective(x: Tensor) -> Tensor:
            if self.name == "critic":
                return -model.scores(x, y).mean()
            return model.loss(x, y).value

        with model.attacked(x, objective, attack) as x, torch.no_grad():
            return float(objective(x))
