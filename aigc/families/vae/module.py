"""The VAE family as a Lightning module."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown
from aigc.core.rng import Rng
from aigc.core.spec import Batch, Spec
from aigc.families.base import GenerativeModule, Loss
from aigc.families.latents import Walk
from aigc.families.likelihoods import LIKELIHOODS, default_likelihood
from aigc.families.vae.latents import (
    Flat,
    Ladder,
    Moments,
    bound_nats,
    draw_many,
    ladder_sizes,
    times,
)
from aigc.families.vae.objective import ELBO, health, split_posterior
from aigc.families.vae.priors import Standard
from aigc.families.vae.sampling import Bank, Sampler


class VAE(GenerativeModule):
    """Encodes to a latent and decodes to a law over discretised data.

    `encoder(spec, out)` and `decoder(spec, latent)` build the roles; an encoder may give maps
    `(B, out, *S)`, and `latent` then counts their channels. `bound` is what training minimises,
    `beta` its weight of the KL; `nats` is the importance-weighted bound with `draws` samples,
    whatever the training. `prior` and `posterior` build other laws than the normal ones, `levels`
    above 1 a ladder. `likelihood` is `logistic`, `bernoulli`, `categorical`, or None for what fits
    the view. `perceptual(x, x_hat)` and `adversarial` are further terms of the reconstruction.
    """

    roles = ("encoder", "decoder")
    provides = frozenset({"nats", "samples", "latents"})
    samplers = (Sampler, Walk)
    likelihood = "bound"

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent: int = 16,
        bound: Any = ELBO(),
        beta: float = 1.0,
        prior: Callable[..., nn.Module] = Standard,
        posterior: Callable[..., nn.Module] | None = None,
        levels: int = 1,
        perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
        adversarial: Any = None,
        likelihood: str | None = None,
        draws: int = 32,
        bank: int = 2048,
        **common,
    ):
        super().__init__(**common)
        spec = self.view.spec
        name = likelihood or default_likelihood(spec)
        if name not in LIKELIHOODS:
            raise unknown("likelihood for model.likelihood", name, LIKELIHOODS)
        self.law = LIKELIHOODS[name](spec)
        first, *rest = spec.shape
        total = sum(ladder_sizes(latent, levels))
        self.encoder = encoder(spec, out=2 * total)
        self.decoder = decoder(replace(spec, shape=(first * self.law.width, *rest)), latent=total)
        self.latent_shape = latent_shape(self.encoder, spec)
        size = prod(self.latent_shape)
        if levels > 1:
            if len(self.latent_shape) > 1 or prior is not Standard or posterior:
                raise BadInput(
                    "model.levels above 1: without maps, model/prior and model/posterior"
                )
            self.latents = Ladder(latent, levels)
        else:
            self.latents = Flat(size, spec.shape, prior, posterior)
        self.bound = bound(size) if isinstance(bound, partial) else bound
        self.mean_loss = adversarial is None and not getattr(self.bound, "joint", False)
        self.beta, self.draws, self.done = beta, draws, 1.0
        self.perceptual, self.adversarial = perceptual, adversarial
        self.critic = encoder(spec, out=1) if adversarial else None
        self.register_buffer("bank_mean", torch.zeros(bank, size))
        self.register_buffer("bank_log_var", torch.zeros(bank, size))
        self.register_buffer("bank_y", torch.zeros(bank, dtype=torch.long))
        self.register_buffer("bank_size", torch.zeros((), dtype=torch.long))
        self._bank: Bank | None = None

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Data of the view to the centres of their posteriors `(B, *latent_shape)`."""
        moments = self.posterior(x, y)
        return self._drawn(moments, torch.zeros_like(moments[0])).unflatten(1, self.latent_shape)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents `(B, *latent_shape)` to their most probable data, as the view gives them."""
        return self.law.mode(self.decoder(z, y))

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Moments:
        """What the encoder says of the latents, flat: mean and log variance `(B, L)`."""
        return split_posterior(self.encoder(x, y))

    def decoded(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The decoder's output for flat latents `(B, L)`."""
        return self.decoder(z.unflatten(1, self.latent_shape), y)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """What `bound` makes of the batch, in nats a dimension, and the further terms."""
        moments, k, outs = self.posterior(x, y), self.bound.k, []

        def nats(z: Tensor) -> Tensor:
            outs.append(self.decoded(z, times(y, k)))
            return self.law.nats(times(x, k), outs[-1])

        draws = draw_many(self.latents, moments, self.posterior, nats, k, self.view.spec.dims)
        value, logs = self.bound(draws, self.beta, self.done if self.training else 1.0)
        more, more_logs = self._further(x, outs[0][: len(x)], y)
        logs |= {"loss": (value + more).detach(), **health(draws, moments[0])}
        if isinstance(self.latents, Ladder):
            logs |= self.latents.by_level(draws)
        return Loss(value + more, logs | more_logs)

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log 1/K sum p(x, z_k) / q(z_k | x)`, `(B,)`."""

        def nats(z: Tensor) -> Tensor:
            return self.law.nats(x, self.decoded(z, y))

        return bound_nats(self.latents, self.posterior(x, y), self.posterior, nats, self.draws)

    def draw(self, n: int, y: Tensor | None, sampler: Sampler | Walk, rng: Rng) -> Iterator[Tensor]:
        """One state: decoded latents."""
        out = self.decoded(sampler.z(self.bank, y, rng), y)
        yield self.law.sample(out, rng) if sampler.noise else self.law.mode(out)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """How much of the run is over: schedules of a bound go by it."""
        self.done = batch_idx / self.trainer.num_training_batches

    @torch.no_grad()
    def observe(self, ids: Tensor, y: Tensor | None) -> None:
        """Keep the posteriors of training examples: samplers of the aggregate posterior need
        them. Of one that is no Gaussian a draw is kept, as a narrow one."""
        ids = ids[: len(self.bank_mean)]
        y = None if y is None else y[: len(ids)]
        mean, log_var = self.posterior(self.view.encode(ids), y)
        if not self.latents.gaussian:
            mean = self._drawn((mean, log_var), torch.randn_like(mean))
            log_var = torch.full_like(mean, -14)
        self.bank_mean[: len(ids)], self.bank_log_var[: len(ids)] = mean, log_var
        self.bank_y[: len(ids)] = 0 if y is None or y.ndim > 1 else y
        self.bank_size.fill_(len(ids))
        self._bank = None

    @property
    def bank(self) -> Bank:
        """The prior, and posteriors of the training examples that `observe` saw."""
        if self._bank is None:
            size = int(self.bank_size)
            rows = (self.bank_mean[:size], self.bank_log_var[:size], self.bank_y[:size])
            self._bank = Bank(*rows, self.latents.law(self.posterior))
        return self._bank

    @property
    def sampled_net(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    def _drawn(self, moments: Moments, eps: Tensor) -> Tensor:
        return self.latents.draw(*moments, eps, self.latents.law(self.posterior)).z

    def _further(self, x: Tensor, out: Tensor, y: Tensor | None) -> tuple[Tensor, dict]:
        """The perceptual and the adversarial term."""
        value, logs = x.new_zeros(()), {}
        if self.perceptual is None and self.adversarial is None:
            return value, logs
        x_hat = self.law.mean(out)
        if self.perceptual is not None:
            logs["perceptual"] = (term := self.perceptual(x, x_hat)).detach()
            value = value + term
        if self.adversarial is not None:
            term, more = self.adversarial(self.critic, x, x_hat, y)
            value, logs = value + term, logs | more
        return value, logs


@torch.no_grad()
def latent_shape(encoder: nn.Module, spec: Spec) -> tuple[int, ...]:
    """The shape of the latents of one example: of what the encoder gives, half the first axis."""
    training = encoder.training
    first, *rest = encoder.eval()(torch.zeros(1, *spec.shape)).shape[1:]
    encoder.train(training)
    return (first // 2, *rest)
