"""The diffusion family as a Lightning module."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.base import GenerativeModule, Loss
from aigc.families.diffusion.objective import Cosine, Denoise, Schedule, bound, loss, to_x0
from aigc.families.diffusion.sampling import Sampler
from aigc.families.likelihoods import as_quantum


class Diffusion(GenerativeModule):
    """Learns to remove Gaussian noise; `denoiser(spec)` builds the Denoiser role.

    `predict` is what the network says (`eps`, `x0` or `v`), `terms` how many terms of the bound
    `nats` draws for each example (None: all, the exact bound for the drawn noise).
    """

    roles = ("denoiser",)
    provides = frozenset({"nats", "samples"})
    samplers = (Sampler,)
    likelihood = "bound"

    def __init__(
        self,
        denoiser: Callable[..., nn.Module],
        schedule: Schedule = Cosine(),
        predict: Literal["eps", "x0", "v"] = "v",
        terms: int | None = 100,
        **common,
    ):
        super().__init__(**common)
        if predict not in ("eps", "x0", "v"):
            raise BadInput(f"model.predict={predict}: choose from eps, v, x0")
        self.net = denoiser(self.view.spec)
        self.schedule, self.predict, self.terms = schedule, predict, terms
        self.register_buffer("quantum", as_quantum(self.view.spec), persistent=False)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """Mean squared error of the prediction."""
        value = loss(self.net, x, y, self.schedule, self.predict)
        return Loss(value, {"loss": value.detach()})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The variational bound, `(B,)`; noise and times are drawn from torch's global
        generator."""
        return bound(self._denoise(y), x, self.schedule, self.quantum, self.terms)

    def draw(self, n: int, y: Tensor | None, sampler: Sampler, rng: Rng) -> Iterator[Tensor]:
        """States from noise to data."""
        x_T = rng.normal(*self.view.spec.shape)
        yield from sampler(self._denoise(y), x_T, self.schedule, rng)

    def _denoise(self, y: Tensor | None) -> Denoise:
        """The estimate of `x_0`, kept in the range of the data."""

        @torch.no_grad()
        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = self.schedule(t)
            return to_x0(self.net(x_t, t, y), x_t, alpha, sigma, self.predict).clamp(-1, 1)

        return denoise

    @property
    def sampled_net(self) -> nn.Module:
        """The denoiser."""
        return self.net
