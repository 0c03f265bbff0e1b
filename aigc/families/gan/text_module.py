"""A GAN of tokens as a Lightning module: a language model against a critic of one-hot texts."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from aigc.core.rng import Rng
from aigc.core.spec import Batch, Spec
from aigc.families.base import GenerativeModule, Loss, decayed, fused
from aigc.families.gan.module import frozen
from aigc.families.gan.penalties import r1 as squared_slope
from aigc.families.gan.text_objective import Gumbel, Reinforce, gumbel, one_hot, write
from aigc.families.gan.text_sampling import Tokens


class TextGAN(GenerativeModule):
    """A generator in the CausalLM role against a critic in the Encoder role, with logistic losses.

    `estimator` says how the generator learns from the critic. As a language model it has an exact
    likelihood, which nothing in its training looks at.
    """

    needs = "tokens"
    roles = ("causal_lm", "encoder")
    provides = frozenset({"nats", "samples"})
    samplers = (Tokens,)
    likelihood = "exact"

    def __init__(
        self,
        causal_lm: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        estimator: Gumbel | Reinforce | None = None,
        r1: float = 0.0,
        critic_lr: float = 1.0,
        clip: float | None = None,
        **common,
    ):
        super().__init__(**common)
        self.automatic_optimization = False
        spec = self.view.spec
        self.net = causal_lm(spec)
        seen = Spec((spec.vocab, *spec.shape), classes=spec.classes, caption=spec.caption)
        self.critic = encoder(seen, out=1)
        self.estimator = estimator or Gumbel()
        self.r1, self.critic_lr, self.clip = r1, critic_lr, clip
        self.register_buffer("allowed", self.view.allowed, persistent=False)

    def logits(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The laws `(B, T, V)` of the tokens `x (B, T)`, each given those before it."""
        logits = self.net(x[:, :-1], y).float()
        return logits if self.allowed is None else logits.masked_fill(~self.allowed, -1e9)

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log p(ids | y)`, exact, `(B,)`."""
        return F.cross_entropy(self.logits(x, y).mT, x, reduction="none").sum(1)

    def write(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """As many texts `(B, T)` as `x` has rows, and the noise `(B, T, V)` that drew them."""
        u = torch.rand(*x.shape, self.view.spec.vocab, device=x.device)
        noise = gumbel(u.clamp(1e-7, 1 - 1e-7))
        ids = write(self.net, lambda t: noise[:, t], x.shape[1], y, self.allowed)
        return ids, noise

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The generator's surrogate loss on texts of its own."""
        ids, noise = self.write(x, y)
        value = self.estimator(self.logits(ids, y), noise, ids, lambda text: self.critic(text, y))
        return Loss(value, {"generator": value.detach()})

    def critic_loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The logistic loss on real texts and on the generator's, and R1."""
        vocab = self.view.spec.vocab
        slope, real = squared_slope(self.critic, one_hot(x, vocab), y)
        fake = self.critic(one_hot(self.write(x, y)[0], vocab), y)
        value = F.softplus(-real).mean() + F.softplus(fake).mean()
        logs = {
            "critic": value.detach(),
            "score_real": real.detach().mean(),
            "score_fake": fake.detach().mean(),
        }
        return Loss(value + self.r1 * slope, logs)

    def training_step(self, batch: Batch, index: int) -> None:
        """A critic step and a generator step."""
        # With dropout the law that drew the tokens would not be the one whose gradient is taken.
        self.net.eval()
        x, y = self.view.encode(batch.ids), batch.y
        generator_opt, critic_opt = self.optimizers()
        loss = self.critic_loss(x, y)
        self._step(critic_opt, loss.value)
        self.logs = loss.logs
        with frozen(self.critic):
            loss = self.loss(x, y)
            self._step(generator_opt, loss.value)
        self.logs = self.logs | loss.logs
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Mean nats a token, as `val/loss`: what a model of likelihood would minimise."""
        x = self.view.encode(batch.ids)
        value = self.nats(x, batch.y).mean() / x.shape[1]
        self.log_mean("val/loss", value, len(x))

    def draw(self, n: int, y: Tensor | None, sampler: Tokens, rng: Rng) -> Iterator[Tensor]:
        """One state: whole texts."""
        length, vocab = self.view.spec.shape[0], self.view.spec.vocab
        yield write(self.net, lambda t: sampler(vocab, rng), length, y, self.allowed)

    def configure_optimizers(self) -> tuple[list, list]:
        """Generator first, critic second, each with its rate schedule by batches."""
        both = [fused(self.make_optimizer(decayed(net))) for net in (self.net, self.critic)]
        for group in both[1].param_groups:
            group["lr"] *= self.critic_lr
        return both, [LambdaLR(optimizer, self.lr_at) for optimizer in both]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Here mixed precision has unscaled the gradients: bound their norm."""
        if self.clip:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip)

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    @property
    def sampled_net(self) -> nn.Module:
        """The language model: a call a token."""
        return self.net
