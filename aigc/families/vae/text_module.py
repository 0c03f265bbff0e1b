"""A VAE of tokens with an autoregressive decoder."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Batch, Spec
from aigc.families.base import GenerativeModule, Loss
from aigc.families.vae.latents import Flat, Moments, bound_nats, draw_many, times
from aigc.families.vae.objective import ELBO, health, split_posterior
from aigc.families.vae.priors import Standard
from aigc.families.vae.sampling import Bank, Prior


class TextVAE(GenerativeModule):
    """`p(x_t | x_<t, z)` is the softmax of a language model's logits plus those that a decoder
    reads in the latent for every place (the hybrid of Semeniuta et al. 2017).

    `encoder` and `decoder` see one-hot texts `(V, T)`, `causal_lm` the tokens. A language model
    that sees all tokens leaves nothing to the latent: `word_dropout` hides that share of them from
    it in training (Bowman et al. 2016), behind a token of its own.
    """

    needs = "tokens"
    roles = ("encoder", "decoder", "causal_lm")
    provides = frozenset({"nats", "samples"})
    samplers = (Prior,)
    likelihood = "bound"

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        causal_lm: Callable[..., nn.Module],
        latent: int = 16,
        bound: Any = ELBO(),
        beta: float = 1.0,
        word_dropout: float = 0.0,
        draws: int = 32,
        **common,
    ):
        super().__init__(**common)
        spec = self.view.spec
        if not 0 <= word_dropout <= 1:
            raise BadInput(f"model.word_dropout={word_dropout}: between 0 and 1")
        seen = Spec((spec.vocab, *spec.shape), classes=spec.classes, caption=spec.caption)
        self.encoder = encoder(seen, out=2 * latent)
        self.decoder = decoder(seen, latent=latent)
        self.net = causal_lm(replace(spec, vocab=spec.vocab + 1))
        self.latents = Flat(latent, spec.shape, Standard)
        self.latent, self.bound, self.beta = latent, bound, beta
        self.word_dropout, self.draws, self.done = word_dropout, draws, 1.0
        self.register_buffer("allowed", self.view.allowed, persistent=False)

    def posterior(self, x: Tensor, y: Tensor | None = None) -> Moments:
        """Mean and log variance `(B, L)` of the latents of tokens `x (B, T)`."""
        one_hot = F.one_hot(x, self.view.spec.vocab).mT.float()
        return split_posterior(self.encoder(one_hot, y))

    def token_nats(self, x: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
        """`-log p(x | z)` of each example `(B,)`, with words hidden in training."""
        read = x[:, :-1]
        if self.training and self.word_dropout:
            hidden = torch.rand(read.shape, device=x.device) < self.word_dropout
            read = read.masked_fill(hidden, self.view.spec.vocab)
        logits = self._logits(self.net(read, y), self.decoder(z, y).mT)
        return F.cross_entropy(logits.mT, x, reduction="none").sum(1)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """What `bound` makes of the batch, in nats a token."""
        moments, k = self.posterior(x, y), self.bound.k

        def nats(z: Tensor) -> Tensor:
            return self.token_nats(times(x, k), z, times(y, k))

        draws = draw_many(self.latents, moments, self.posterior, nats, k, self.view.spec.dims)
        value, logs = self.bound(draws, self.beta, self.done if self.training else 1.0)
        return Loss(value, logs | {"loss": value.detach(), **health(draws, moments[0])})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log 1/K sum p(x, z_k) / q(z_k | x)`, `(B,)`."""

        def nats(z: Tensor) -> Tensor:
            return self.token_nats(x, z, y)

        return bound_nats(self.latents, self.posterior(x, y), self.posterior, nats, self.draws)

    def draw(self, n: int, y: Tensor | None, sampler: Prior, rng: Rng) -> Iterator[Tensor]:
        """Texts that grow token by token; without `noise` by the most probable one."""
        places = self.decoder(sampler.z(self._bank, y, rng), y).mT
        ids = torch.zeros(n, self.view.spec.shape[0], dtype=torch.long, device=rng.device)
        cache = self.net.cache(n)
        for t in range(ids.shape[1]):
            new = self.net(ids[:, max(t - 1, 0) : t], y, cache)[:, -1:]
            logits = self._logits(new, places[:, t : t + 1], t)[:, 0]
            ids[:, t] = rng.categorical(logits.softmax(-1)) if sampler.noise else logits.argmax(-1)
        yield ids

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """How much of the run is over: schedules of a bound go by it."""
        self.done = batch_idx / self.trainer.num_training_batches

    @property
    def sampled_net(self) -> nn.Module:
        """The language model: a call a token."""
        return self.net

    @property
    def _bank(self) -> Bank:
        """No examples, and the prior."""
        none = torch.zeros(0, self.latent, device=self.device)
        return Bank(none, none, none[:, 0].long(), self.latents.law(self.posterior))

    def _logits(self, own: Tensor, read: Tensor, start: int = 0) -> Tensor:
        """Both parts `(B, t, V)`, without the hidden token and what may not occur."""
        logits = own[..., : self.view.spec.vocab] + read
        if self.allowed is None:
            return logits
        allowed = self.allowed[start : start + logits.shape[1]]
        return logits.masked_fill(~allowed, float("-inf"))
