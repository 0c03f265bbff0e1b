"""A small classifier of a labelled data set: its last hidden layer as features, its classes for
inception-style scores."""

import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from aigc.metrics.features import EXTRACTORS, sha_of

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
STEPS, BATCH, RATE = 300, 128, 3e-3


class Classifier:
    """Three convolutions (linear layers for rows) averaged over positions, then `dims` hidden
    units; it reads the codec's field `(n, C, *S)`.

    `accuracy` is that on held-out examples, and a part of the name: features of a classifier that
    knows nothing say nothing.
    """

    source = "field"

    def __init__(self, shape: tuple[int, ...], classes: int, dims: int):
        self.shape, self.classes, self.dims = tuple(shape), classes, dims
        self.body, self.head = _body(self.shape, dims), nn.Linear(dims, classes)
        self.mean, self.scale, self.accuracy = 0.0, 1.0, 0.0

    @classmethod
    def fit(
        cls,
        x: Tensor,
        y: Tensor,
        classes: int,
        dims: int,
        seed: int = 0,
        hidden: Tensor | None = None,
    ) -> "Classifier":
        """Train on `x (n, C, *S)` with labels `y (n,)`; a function of the data and the seed.

        Of rows `x (n, C)` it does not read the entries `hidden (C,)`, now or later: those of a
        column that is the label again.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = cls(x.shape[1:], classes, dims)
            found.mean, found.scale = float(x.mean()), float(x.std()) + 1e-6
            found._train(x if hidden is None else x.masked_fill(hidden, found.mean), y)
        if hidden is not None:
            found.body[0].weight.data[:, hidden] = 0
        return found

    def _train(self, x: Tensor, y: Tensor) -> None:
        parameters = [*self.body.parameters(), *self.head.parameters()]
        optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            rows = torch.randint(len(x), (BATCH,))
            loss = nn.functional.cross_entropy(self._logits(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def _hidden(self, x: Tensor) -> Tensor:
        return self.body((x.float() - self.mean) / self.scale)

    def _logits(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.silu(self._hidden(x)))

    @property
    def id(self) -> str:
        """`clf32-97%`: size and held-out accuracy."""
        return f"clf{self.dims}-{100 * self.accuracy:.0f}%"

    @property
    def sha(self) -> str:
        """A hash of the weights."""
        return sha_of(*self._state().values())

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """`(n, C, *S)` to `(n, dims)`."""
        return torch.cat([self._hidden(part) for part in x.split(512)]).double()

    @torch.no_grad()
    def probs(self, x: Tensor) -> Tensor:
        """Probabilities of the classes `(n, classes)`."""
        logits = torch.cat([self._logits(part) for part in x.split(512)])
        return logits.double().softmax(1)

    def score(self, x: Tensor, y: Tensor) -> float:
        """Accuracy on held-out examples, kept as `accuracy`."""
        self.accuracy = float((self.probs(x).argmax(1) == y).double().mean())
        return self.accuracy

    def _state(self) -> dict[str, Tensor]:
        parts = (("body", self.body), ("head", self.head))
        return {f"{name}.{k}": v for name, part in parts for k, v in part.state_dict().items()}

    def save(self, file: Path) -> None:
        """Write the weights, with what else is needed in the header; whole or not at all."""
        facts = {"shape": self.shape, "classes": self.classes, "dims": self.dims}
        facts |= {"mean": self.mean, "scale": self.scale, "accuracy": self.accuracy}
        part = file.with_suffix(f".{id(self)}")
        save_file(self._state(), part, {"facts": json.dumps(facts)})
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> "Classifier":
        """The inverse of `save`."""
        with safe_open(file, "pt") as stored:
            facts = json.loads(stored.metadata()["facts"])
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        found = cls(facts.pop("shape"), facts.pop("classes"), facts.pop("dims"))
        vars(found).update(facts)
        for name, part in (("body", found.body), ("head", found.head)):
            own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(name)}
            part.load_state_dict(own)
        return found


def _body(shape: tuple[int, ...], dims: int) -> nn.Sequential:
    """Data to the hidden layer before its nonlinearity."""
    rank, layers = len(shape) - 1, []
    for i, (inp, out) in enumerate(pairwise([shape[0], 32, 64, 64])):
        if rank:
            layers += [CONV[rank](inp, out, 3, stride=1 + (i > 0), padding=1), nn.SiLU()]
        else:
            layers += [nn.Linear(inp, out), nn.SiLU()]
    pool = [nn.Flatten(2), _Mean()] if rank else []
    return nn.Sequential(*layers, *pool, nn.Linear(64, dims))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


EXTRACTORS.add("clf", Classifier)
