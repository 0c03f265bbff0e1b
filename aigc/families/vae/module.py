"""The VAE family as a Lightning module."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from aigc.core.errors import unknown
from aigc.core.rng import Rng
from aigc.core.spec import Spec
from aigc.families.base import GenerativeModule, Loss
from aigc.families.latents import Walk
from aigc.families.likelihoods import LIKELIHOODS, default_likelihood
from aigc.families.vae.objective import (
    importance_bound,
    kl_to_prior,
    log_normal,
    reparameterize,
    split_posterior,
)
from aigc.families.vae.sampling import Bank, Sampler


class VAE(GenerativeModule):
    """Encodes to a Gaussian latent and decodes to a law over discretised data.

    `encoder(spec, out)` and `decoder(spec, latent)` build the roles; an encoder may give maps
    `(B, out, *S)`, and `latent` then counts their channels. `beta` weighs the KL in
    training only; `nats` is the importance-weighted bound with `draws` samples. `likelihood` is
    `logistic`, `bernoulli`, `categorical`, or None for what fits the view.
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
        beta: float = 1.0,
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
        self.encoder = encoder(spec, out=2 * latent)
        self.decoder = decoder(replace(spec, shape=(first * self.law.width, *rest)), latent=latent)
        self.beta, self.draws = beta, draws
        self.latent_shape = latent_shape(self.encoder, spec)
        size = prod(self.latent_shape)
        self.register_buffer("bank_mean", torch.zeros(bank, size))
        self.register_buffer("bank_log_var", torch.zeros(bank, size))
        self.register_buffer("bank_y", torch.zeros(bank, dtype=torch.long))
        self.register_buffer("bank_size", torch.zeros((), dtype=torch.long))
        self._bank: Bank | None = None

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Data of the view to their posterior means `(B, *latent_shape)`."""
        return self.posterior(x, y)[0].unflatten(1, self.latent_shape)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents `(B, *latent_shape)` to their most probable data, as the view gives them."""
        return self.law.mode(self.decoder(z, y))

    def posterior(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log variance of `q(z | x)`, flat: `(B, L)` each."""
        return split_posterior(self.encoder(x, y))

    def law_of(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The decoder's output for flat latents `(B, L)`."""
        return self.decoder(z.unflatten(1, self.latent_shape), y)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """`(-log p(x | z) + beta KL) / dims`: nats a dimension when `beta` is 1."""
        mean, log_var = self.posterior(x, y)
        z = reparameterize(mean, log_var, torch.randn_like(mean))
        reconstruction = self.law.nats(x, self.law_of(z, y)).mean() / self.view.spec.dims
        kl = kl_to_prior(mean, log_var).mean() / self.view.spec.dims
        value = reconstruction + self.beta * kl
        logs = {
            "loss": value.detach(),
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
        }
        return Loss(value, logs)

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log 1/K sum p(x, z_k) / q(z_k | x)`, `(B,)`."""
        mean, log_var = self.posterior(x, y)
        log_weights = []
        for _ in range(self.draws):
            z = reparameterize(mean, log_var, torch.randn_like(mean))
            log_p = log_normal(z, 0.0, 0.0) - self.law.nats(x, self.law_of(z, y))
            log_weights.append(log_p - log_normal(z, mean, log_var))
        return -importance_bound(torch.stack(log_weights))

    def draw(self, n: int, y: Tensor | None, sampler: Sampler | Walk, rng: Rng) -> Iterator[Tensor]:
        """One state: decoded latents."""
        out = self.law_of(sampler.z(self.bank, y, rng), y)
        yield self.law.sample(out, rng) if sampler.noise else self.law.mode(out)

    @torch.no_grad()
    def observe(self, ids: Tensor, y: Tensor | None) -> None:
        """Keep the posteriors of training examples: samplers of the aggregate posterior need
        them."""
        ids = ids[: len(self.bank_mean)]
        y = None if y is None else y[: len(ids)]
        mean, log_var = self.posterior(self.view.encode(ids), y)
        self.bank_mean[: len(ids)], self.bank_log_var[: len(ids)] = mean, log_var
        self.bank_y[: len(ids)] = 0 if y is None or y.ndim > 1 else y
        self.bank_size.fill_(len(ids))
        self._bank = None

    @property
    def bank(self) -> Bank:
        """Posteriors of the training examples that `observe` saw."""
        if self._bank is None:
            size = int(self.bank_size)
            self._bank = Bank(self.bank_mean[:size], self.bank_log_var[:size], self.bank_y[:size])
        return self._bank

    @property
    def sampled_net(self) -> nn.Module:
        """The decoder."""
        return self.decoder


@torch.no_grad()
def latent_shape(encoder: nn.Module, spec: Spec) -> tuple[int, ...]:
    """The shape of the latents of one example: of what the encoder gives, half the first axis."""
    training = encoder.training
    first, *rest = encoder.eval()(torch.zeros(1, *spec.shape)).shape[1:]
    encoder.train(training)
    return (first // 2, *rest)
