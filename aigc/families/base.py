"""What the four families share: a view, an optimizer, and samples that depend on (seed, i)
alone."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import isabstract
from math import inf
from typing import Any, ClassVar, Literal, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Batch
from aigc.core.views import View
from aigc.families.adversary import Adversary, token_embedding

# Matrix kernels on CPU give a row the same bits in every batch of a multiple of 16 rows. Plain
# products do from 4 rows on; convolutions and what else a network may hold are not so sure.
ROWS = 16
CAPTIONS = 2048  # training captions that a model keeps to draw from

MakeOptimizer = Callable[[Iterable[dict[str, Any]]], Optimizer]


class Loss(NamedTuple):
    """What is minimised, and what is logged (detached scalars)."""

    value: Tensor
    logs: dict[str, Tensor]


class GenerativeModule(L.LightningModule):
    """A family: it gets networks, a view and an optimizer, and knows neither data nor
    configuration.

    `roles` names the networks that the constructor takes, `needs` the kind of view, `provides`
    what the trained model can give: `nats`, `samples`, `latents`, `prompts` (it goes on from
    one). `samplers` are the classes that `sample` takes.
    """

    needs: ClassVar[Literal["tokens", "floats"]] = "floats"
    roles: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[frozenset[str]] = frozenset({"samples"})
    samplers: ClassVar[tuple[type, ...]] = ()
    likelihood: ClassVar[str] = "none"  # "exact", "bound" or "none"
    mean_loss: bool = True  # over examples, each by itself
    rows: ClassVar[int] = ROWS  # samples are drawn in multiples of so many

    def __init__(
        self,
        view: View,
        optimizer: MakeOptimizer = torch.optim.AdamW,
        lr_at: Callable[[int], float] = lambda step: 1.0,
        adversary: Adversary | None = None,
    ):
        super().__init__()
        self.view, self.make_optimizer, self.lr_at = view, optimizer, lr_at
        self.adversary = adversary
        if bool(view.spec.vocab) != (self.needs == "tokens"):
            raise BadInput(
                f"{type(self).__name__} needs a view of {self.needs}, "
                f"not '{type(view).__name__.lower()}'"
            )
        self.logs: dict[str, Tensor] = {}
        # Labels and captions that a user does not give are drawn as often as in the training data.
        self.register_buffer("class_weights", torch.ones(max(view.spec.classes, 1)))
        if view.spec.caption:
            bank = torch.zeros(CAPTIONS, view.spec.caption, dtype=torch.long)
            self.register_buffer("captions", bank)

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The training objective of `x (B, *spec.shape)` with labels `y (B,)`."""

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """Upper bound on `-log p(ids | y)` of each example `(B,)`, exact for `likelihood =
        "exact"`."""
        return None

    @abstractmethod
    def draw(self, n: int, y: Tensor | None, sampler: Any, rng: Rng) -> Iterator[Tensor]:
        """The states of `n` samples on their way, `(n, *spec.shape)`; the last one is the
        sample."""

    def mean_over(self, x: Tensor) -> Tensor | int:
        """How many terms the mean is over that `loss` gives for `x`."""
        return len(x)

    def observe(self, ids: Tensor, y: Tensor | None) -> None:
        """Called after training, and before samples are judged in training, with training examples;
        for what a sampler needs of the data."""

    def remember(self, y: Tensor) -> None:
        """Take in how often the labels `(N,)` or captions `(N, L)` of the training data occur."""
        if y.ndim > 1:
            self.captions.copy_(y[torch.linspace(0, len(y) - 1, CAPTIONS).long()])
        else:
            self.class_weights.copy_(torch.bincount(y, minlength=len(self.class_weights)))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: int | Tensor | None = None,
        seed: int = 0,
        sampler: Any = None,
        batch_size: int = 256,
        start: int = 0,
        prompts: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Samples number `start` to `start + n` of this seed: ids `(n, *shape)` and their labels
        `(n,)` or captions `(n, L)`.

        Sample `i` depends on `(seed, i)` only. `y` fixes the label (or all `n`); without it labels
        are drawn. `prompts`, one a sample, are how it begins in the view, where the family
        `provides` that. Raises BadInput for a label out of range or a sampler of another family.
        """
        if not isinstance(sampler, self.samplers):
            allowed = ", ".join(s.__name__ for base in self.samplers for s in _leaves(base))
            raise BadInput(f"{type(sampler).__name__} does not sample a {self.name}: use {allowed}")
        if prompts is not None and "prompts" not in self.provides:
            raise BadInput(f"a {self.name} does not go on from a prompt")
        labels = self._labels(n, y, seed, start)
        parts = []
        for low in range(0, n, batch_size):
            size = min(batch_size, n - low)
            rows = -(-size // self.rows) * self.rows
            index = torch.arange(start + low, start + low + rows, device=self.device)
            y_part = None
            if labels is not None:
                y_part = labels[low : low + size]
                y_part = torch.cat([y_part, y_part.new_zeros(rows - size, *y_part.shape[1:])])
            given = {}
            if prompts is not None:
                part = [prompt.to(self.device) for prompt in prompts[low : low + size]]
                given["prompts"] = part + part[-1:] * (rows - size)
            *_, x = self.draw(rows, y_part, sampler, Rng(seed, index), **given)
            parts.append(self.view.decode(x[:size]))
        return torch.cat(parts), labels

    @property
    @abstractmethod
    def sampled_net(self) -> nn.Module:
        """The network whose calls are counted as function evaluations of a sample."""

    @property
    def name(self) -> str:
        """The family's name in messages."""
        return type(self).__name__.lower()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One step of automatic optimisation; what it logs is read by a callback, not per step."""
        x, y = self.view.encode(batch.ids), batch.y
        with self.attacked(x, lambda x: self.loss(x, y).value) as x:
            loss = self.loss(x, y)
        self.logs = loss.logs
        return loss.value

    def attacked(
        self, x: Tensor, objective: Callable[[Tensor], Tensor], adversary: Adversary | None = None
    ) -> AbstractContextManager[Tensor]:
        """`x` under an attack that raises `objective(x)`, as long as the context lasts: that of the
        model's own adversary, or as it is where there is none."""
        adversary, spec = adversary or self.adversary, self.view.spec
        if adversary is None:
            return nullcontext(x)
        embedding = token_embedding(self, spec.vocab) if spec.vocab else None
        return adversary.attack(objective, x, embedding, 1.0 if spec.quantum else inf)

    def validation_step(self, batch: Batch, index: int) -> None:
        """The mean training objective on the validation split, as `val/loss`."""
        loss = self.loss(self.view.encode(batch.ids), batch.y)
        self.log_mean("val/loss", loss.value.detach(), len(batch.ids))

    def log_mean(self, name: str, value: Tensor, rows: int) -> None:
        """Log the mean over a validation split, to which this batch brings `rows`.

        Lightning rounds the mean of the ranks' counts down; of multiples of their number it is
        whole.
        """
        self.log(name, value, batch_size=rows * self.trainer.world_size, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """One optimizer over all parameters, its rate scaled by `lr_at(step)`."""
        try:
            optimizer = fused(self.make_optimizer(decayed(self)))
        except ValueError as error:  # a rate or a beta out of range
            raise BadInput(f"optimizer: {error}") from error
        for group in optimizer.param_groups:
            group["lr"] *= group.get("lr_scale", 1.0)
        schedule = {"scheduler": LambdaLR(optimizer, self.lr_at), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _labels(self, n: int, y: int | Tensor | None, seed: int, start: int) -> Tensor | None:
        classes, length = self.view.spec.classes, self.view.spec.caption
        if not classes and not length:
            if y is not None:
                raise BadInput("this model has no classes: leave y out")
            return None
        if y is None:
            rng = Rng(seed ^ 0x5EED, torch.arange(start, start + n, device=self.device))
            if length:
                return self.captions[(rng.uniform(1)[:, 0] * CAPTIONS).long()]
            return rng.categorical(self.class_weights)
        labels = torch.as_tensor(y, device=self.device)
        if labels.is_floating_point():
            raise BadInput(f"y={y}: a label is a whole number")
        if length:
            if labels.ndim == 0 or labels.shape[-1] != length:
                raise BadInput("this model takes captions: y=TEXT")
            return labels.expand(n, length).contiguous()
        labels = labels.expand(n).contiguous()
        if labels.min() < 0 or labels.max() >= classes:
            raise BadInput(f"y={y}: labels run from 0 to {classes - 1}")
        return labels


def hide(y: Tensor, share: float, null: int = -1) -> Tensor:
    """Labels `(B,)` or captions `(B, L)`, a random share of them replaced by `null`: a model that
    also learns to do without can be guided (Ho & Salimans 2022)."""
    hidden = torch.rand(len(y), device=y.device) < share
    return y.masked_fill(hidden.view(-1, *[1] * (y.ndim - 1)), null)


def _leaves(cls: type) -> list[type]:
    """A class and those derived from it, without bases that cannot be called."""
    can = any(name in dir(cls) for name in ("__call__", "z", "search"))
    own = [cls] if can and not isabstract(cls) else []
    return own + [leaf for sub in cls.__subclasses__() for leaf in _leaves(sub)]


def fused(optimizer: Optimizer) -> Optimizer:
    """Have it step through all of its tensors in one kernel, where it has one and nothing else is
    asked for: a third to a quarter of the time on a CPU, and the same up to rounding."""
    for group in optimizer.param_groups:
        free = group.get("fused", False) is None and not group.get("foreach")
        plain = all(type(p.data) is Tensor and p.is_floating_point() for p in group["params"])
        if free and plain and {p.device.type for p in group["params"]} <= {"cpu", "cuda"}:
            group["fused"] = True
    return optimizer


def decayed(*modules: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups: weight decay for matrices and kernels, none for biases, norms and
    scales; a group for every `lr_scale` that a network has written on its parameters."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for p in sorted(parameters, key=lambda p: p.ndim < 2):
        scale = getattr(p, "lr_scale", 1.0)
        facts = {"params": [], "lr_scale": scale}
        if p.ndim < 2:
            facts["weight_decay"] = 0.0
        groups.setdefault((p.ndim < 2, scale), facts)["params"].append(p)
    return list(groups.values())
