"""The diffusion family as a Lightning module."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.families.base import GenerativeModule, Loss, hide
from aigc.families.diffusion.editing import Edit
from aigc.families.diffusion.guidance import Guidance
from aigc.families.diffusion.likelihood import flow_nats
from aigc.families.diffusion.objective import WEIGHTS, Denoiser, Objective, bound
from aigc.families.diffusion.predictions import EDM, PREDICTIONS
from aigc.families.diffusion.sampling import Sampler
from aigc.families.diffusion.schedules import Cosine, Schedule
from aigc.families.likelihoods import as_quantum


class Diffusion(GenerativeModule):
    """Learns to remove Gaussian noise; `denoiser(spec)` builds the Denoiser role.

    `predict` is what the network says (`sigma_data` is EDM's), `variance` whether it learns the
    reverse variances too, `label_dropout` how often it trains without the label, which guidance
    needs. `nats` draws `terms` terms of the bound for each example (None: all, the exact bound
    for the drawn noise), or integrates the probability-flow ODE.
    """

    roles = ("denoiser",)
    provides = frozenset({"nats", "samples"})
    samplers = (Sampler, Edit)
    likelihood = "bound"

    def __init__(
        self,
        denoiser: Callable[..., nn.Module],
        schedule: Schedule = Cosine(),
        predict: Literal["eps", "x0", "v", "flow", "edm"] = "v",
        weight: Literal["simple", "min_snr", "p2"] = "simple",
        variance: Literal["fixed", "learned"] = "fixed",
        label_dropout: float = 0.0,
        sigma_data: float = 0.5,
        nats_by: Literal["bound", "ode"] = "bound",
        terms: int | None = 100,
        **common,
    ):
        super().__init__(**common)
        if predict not in PREDICTIONS:
            raise unknown("model.predict", predict, PREDICTIONS)
        if weight not in WEIGHTS:
            raise unknown("model.weight", weight, WEIGHTS)
        if not 0 <= label_dropout < 1:
            raise BadInput(f"model.label_dropout={label_dropout}: at least 0, below 1")
        learned = variance == "learned"
        self.net = denoiser(self.view.spec, **({"outputs": 2} if learned else {}))
        prediction = EDM(sigma_data) if predict == "edm" else PREDICTIONS[predict]()
        prediction.coefficients(schedule, torch.ones(1))  # a path that has none says so
        self.objective = Objective(schedule, prediction, weight, learned)
        self.label_dropout, self.nats_by, self.terms = label_dropout, nats_by, terms
        self.register_buffer("quantum", as_quantum(self.view.spec), persistent=False)

    @property
    def schedule(self) -> Schedule:
        """The path from data to noise."""
        return self.objective.schedule

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """Weighted mean squared error of the prediction."""
        if self.training and self.label_dropout and y is not None:
            y = hide(y, self.label_dropout)
        value = self.objective.loss(self.net, x, y)
        return Loss(value, {"loss": value.detach()})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """A bound, `(B,)`; noise and times are drawn from torch's global generator."""
        if self.nats_by == "ode":
            return flow_nats(self.denoiser(y), x, self.schedule, self.quantum)
        denoise = self._in_range(self.denoiser(y))
        return bound(denoise, x, self.schedule, self.quantum, self.terms)

    def draw(self, n: int, y: Tensor | None, sampler: Sampler | Edit, rng: Rng) -> Iterator[Tensor]:
        """States from noise to data."""
        x_T = self.schedule.prior * rng.normal(*self.view.spec.shape)
        denoise = self._in_range(self._guided(y, getattr(sampler, "inner", sampler)))
        yield from sampler(denoise, x_T, self.schedule, rng)

    def denoiser(self, y: Tensor | None) -> Denoiser:
        """`(x_t, t)` to the estimate of `x_0`, as the network gives it."""
        return Denoiser(lambda x_t, t: self.objective.denoise(self.net, x_t, t, y))

    def _guided(self, y: Tensor | None, sampler: Sampler) -> Denoiser:
        strong, other = self.denoiser(y), sampler.guide
        if sampler.guidance is None:
            if other or sampler.interval or sampler.rescale:
                raise BadInput("guidance needs its scale: sampler.guidance=2")
            return strong
        if other is None and (y is None or not self.label_dropout):
            raise BadInput("sampler.guidance: train with labels and model.label_dropout=0.1")
        path = getattr(other, "schedule", None)
        if other and (other.view.spec, path) != (self.view.spec, self.schedule):
            raise BadInput("sampler.guide: a run on the same data and with the same schedule")
        weak = other.denoiser(y) if other else self.denoiser(None)
        interval = tuple(sampler.interval or (0.0, 1.0))
        return Guidance(sampler.guidance, interval, sampler.rescale or 0.0)(strong, weak)

    def _in_range(self, denoise: Denoiser) -> Denoiser:
        """Estimates kept in the range of the data, if it has one, without a graph."""
        limit = 1.0 if self.view.spec.quantum else float("inf")

        @torch.no_grad()
        def clamped(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            x0, fraction = denoise.full(x_t, t)
            return x0.clamp(-limit, limit), fraction

        return Denoiser(clamped)

    @property
    def sampled_net(self) -> nn.Module:
        """The denoiser."""
        return self.net
