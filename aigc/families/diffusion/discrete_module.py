"""Diffusion of tokens as a Lightning module: masked or uniform."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.core.share import strata
from aigc.families.base import GenerativeModule, Loss
from aigc.families.diffusion.discrete_objective import (
    PROCESSES,
    Cosine,
    Linear,
    LogLaw,
    bound,
    nats_at,
)
from aigc.families.diffusion.discrete_sampling import Ancestral, MaskedSampler, TokenSampler


class DiscreteDiffusion(GenerativeModule):
    """Learns to tell what tokens were before they were masked or replaced.

    `token_denoiser(spec, states=, timed=)` builds the TokenDenoiser role. `steps` is None for the
    bound in continuous time; `terms` is how many times of it `nats` draws for each example.
    """

    needs = "tokens"
    roles = ("token_denoiser",)
    provides = frozenset({"nats", "samples"})
    likelihood = "bound"

    def __init__(
        self,
        token_denoiser: Callable[..., nn.Module],
        process: Literal["absorbing", "uniform"] = "absorbing",
        alpha: Linear | Cosine = Linear(),
        steps: int | None = None,
        terms: int = 64,
        **common,
    ):
        super().__init__(**common)
        if process not in PROCESSES:
            raise unknown("model.process", process, PROCESSES)
        for name, value in (("steps", steps), ("terms", terms)):
            if value is not None and value < 1:
                raise BadInput(f"model.{name}={value}: at least 1")
        spec, allowed = self.view.spec, self.view.allowed
        self.process = PROCESSES[process](spec.vocab, allowed, alpha)
        self.net = token_denoiser(spec, states=self.process.states, timed=self.process.timed)
        self.steps, self.terms = steps, terms
        self.samplers = (TokenSampler,) if process == "absorbing" else (Ancestral,)
        self.register_buffer("allowed", allowed, persistent=False)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The bound in nats a token, at one time for each example."""
        u = strata(len(x), x.device)
        value = nats_at(self._log_law(y), self.process, x, u, self.steps).mean() / x.shape[1]
        return Loss(value, {"loss": value.detach()})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The variational bound, `(B,)`; noise and times are drawn from torch's global
        generator."""
        return bound(self._log_law(y), self.process, x, self.terms, self.steps)

    def draw(self, n: int, y: Tensor | None, sampler: TokenSampler, rng: Rng) -> Iterator[Tensor]:
        """States from noise to data."""
        log_law = self._log_law(y)
        x_T = self.process.noise(rng.uniform(*self.view.spec.shape))
        if isinstance(sampler, MaskedSampler) and (ids := sampler.template()) is not None:
            x_T = self._given(ids.to(x_T.device), x_T)
        yield from sampler(lambda x, t: log_law(x, t).exp(), x_T, self.process, rng)

    def _given(self, ids: Tensor, x_T: Tensor) -> Tensor:
        """`x_T` with the tokens of `ids (1, *shape)` that are not -1."""
        try:
            tokens = self.view.encode(ids).expand(x_T.shape)
        except RuntimeError as error:
            raise BadInput(
                f"sampler.given: ids of shape {tuple(ids.shape[1:])} are not of this model"
            ) from error
        if (tokens >= self.process.levels).any():
            raise BadInput("sampler.given: an id is beyond the levels of its position")
        return torch.where(tokens < 0, x_T, tokens)

    def _log_law(self, y: Tensor | None) -> LogLaw:
        """`log p(x_0 | x_t)`, with no mass on tokens that cannot occur at a position."""

        def log_law(x_t: Tensor, t: Tensor) -> Tensor:
            logits = self.net(x_t, t, y).float()
            if self.allowed is not None:
                logits = logits.masked_fill(~self.allowed, float("-inf"))
            return self.process.informed(logits, x_t, t).log_softmax(-1)

        return log_law

    @property
    def sampled_net(self) -> nn.Module:
        """The denoiser."""
        return self.net

    @property
    def name(self) -> str:
        """`absorbing diffusion` or `uniform diffusion`."""
        return f"{type(self.process).__name__.lower()} diffusion"
