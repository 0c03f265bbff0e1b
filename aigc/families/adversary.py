"""Adversarial examples: small changes of what a model sees that raise its loss the most.

Float views are changed themselves; of tokens it is the embeddings that are changed (Miyato et al.
2017).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown

NORMS = ("l2", "linf")
Objective = Callable[[Tensor], Tensor]  # of a batch, a scalar


@dataclass(frozen=True)
class Adversary:
    """`steps` steps up the gradient of the loss within a ball about each example.

    The radius is `eps` as the root mean square (`l2`) or the largest (`linf`) change of a value, in
    units of the floats in [-1, 1] or of the embeddings' root mean square. One step is FGM (Miyato
    et al. 2017; Goodfellow et al. 2015 for linf), more are PGD (Madry et al. 2018) with steps of
    `step_size`, None for 2.5 eps / steps. In training the first `share` of each batch is changed.
    """

    eps: float = 0.1
    steps: int = 1
    step_size: float | None = None
    norm: Literal["l2", "linf"] = "l2"
    share: float = 0.5

    def __post_init__(self):
        if self.norm not in NORMS:
            raise unknown("adversary norm", self.norm, NORMS)
        if self.eps < 0 or self.steps < 1 or not 0 < self.share <= 1:
            raise BadInput("adversary: eps at least 0, steps at least 1, share above 0, at most 1")

    @contextmanager
    def attack(
        self,
        objective: Objective,
        x: Tensor,
        embedding: nn.Embedding | None = None,
        bound: float = 1.0,
    ) -> Iterator[Tensor]:
        """`x` under attack, as long as the context lasts: changed floats, cut at +-`bound`, or
        tokens as they are while `embedding` gives changed vectors.

        Every look at the objective, the one that follows included, has the same randomness.
        """
        if embedding is None:

            def moved(delta: Tensor) -> Tensor:
                return (x + delta).clamp(-bound, bound)

            yield moved(self.change(lambda d: objective(moved(d)), torch.zeros_like(x)))
            return
        with shifted(embedding) as shift:
            with torch.no_grad(), same_randomness(x):
                objective(x)
            seen = shift.output
            scale = float(seen.square().mean().sqrt())

            def at(delta: Tensor) -> Tensor:
                shift.delta = delta
                return objective(x)

            shift.delta = self.change(at, torch.zeros_like(seen), scale)
            yield x

    def change(self, at: Objective, delta: Tensor, scale: float = 1.0) -> Tensor:
        """The change `(B, ...)` that raises `at(change)` the most, from `delta` on."""
        size = ceil(self.share * len(delta))
        step = self.eps if self.steps == 1 else self.step_size or 2.5 * self.eps / self.steps
        for _ in range(self.steps):
            delta = delta.detach().requires_grad_(True)
            with torch.enable_grad(), same_randomness(delta):
                (gradient,) = torch.autograd.grad(at(delta), delta)
            delta = delta.detach() + step * scale * self.direction(gradient)
            delta = self.project(delta, self.eps * scale)
        delta[size:] = 0
        return delta

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest change of unit size; none where the gradient is zero."""
        return gradient.sign() if self.norm == "linf" else gradient / _rms(gradient)

    def project(self, delta: Tensor, radius: float) -> Tensor:
        """The nearest change within the ball."""
        if self.norm == "linf":
            return delta.clamp(-radius, radius)
        return delta * (radius / _rms(delta)).clamp(max=1.0)


class Shift:
    """Adds `delta` to what an embedding gives, and keeps what it gave."""

    def __init__(self):
        self.delta: Tensor | None = None
        self.output: Tensor | None = None

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        self.output = output.detach()
        return output if self.delta is None else output + self.delta


@contextmanager
def shifted(embedding: nn.Embedding) -> Iterator[Shift]:
    """A `Shift` of this embedding as long as the context lasts."""
    shift = Shift()
    handle = embedding.register_forward_hook(shift)
    try:
        yield shift
    finally:
        handle.remove()


def token_embedding(net: nn.Module, vocab: int) -> nn.Embedding:
    """The embedding through which a network reads its tokens: its first with that many rows."""
    for module in net.modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings >= vocab:
            return module
    raise BadInput(f"adversary: {type(net).__name__} has no embedding of {vocab} tokens")


@contextmanager
def same_randomness(like: Tensor) -> Iterator[None]:
    """What is drawn inside is drawn again by whoever comes next."""
    devices = [like.device] if like.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


def _rms(x: Tensor) -> Tensor:
    """Root mean square of each example, to broadcast over it."""
    mean = x.flatten(1).square().mean(1).sqrt().clamp(min=1e-12)
    return mean.view(-1, *[1] * (x.ndim - 1))
