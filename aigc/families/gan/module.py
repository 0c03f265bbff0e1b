"""The GAN family as a Lightning module, with two optimizers by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from aigc.core.rng import Rng
from aigc.core.spec import Batch
from aigc.families.base import GenerativeModule, Loss, decayed
from aigc.families.gan.objective import NonSaturating, gradient_penalty, r1
from aigc.families.gan.sampling import Prior


class GAN(GenerativeModule):
    """A generator (`decoder` role) against a critic (`encoder` role with one output).

    `r1` and `gp` weigh the gradient penalties (0 = off), `n_critic` is critic steps for one
    generator step, `critic_lr` the ratio of the learning rates.
    """

    roles = ("encoder", "decoder")
    samplers = (Prior,)

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        objective: Any = NonSaturating(),
        latent: int = 64,
        r1: float = 0.0,
        gp: float = 0.0,
        n_critic: int = 1,
        critic_lr: float = 1.0,
        **common,
    ):
        super().__init__(**common)
        self.automatic_optimization = False
        spec = self.view.spec
        self.generator = decoder(spec, latent=latent)
        self.critic = encoder(spec, out=1)
        self.objective, self.latent = objective, latent
        self.r1, self.gp, self.n_critic, self.critic_lr = r1, gp, n_critic, critic_lr

    def generate(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Latents `(B, latent)` to data in (-1, 1)."""
        return self.generator(z, y).tanh()

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The generator's loss for as many fakes as `x` has rows."""
        value = self.objective.generator(self.critic(self.generate(self._noise(x), y), y))
        return Loss(value, {"generator": value.detach()})

    def critic_loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The critic's loss with its penalties."""
        with torch.no_grad():
            fake = self.generate(self._noise(x), y)
        penalty = x.new_zeros(())
        if self.r1:
            slope, real_scores = r1(self.critic, x, y)
            penalty = penalty + self.r1 * slope
        else:
            real_scores = self.critic(x, y)
        if self.gp:
            mix = torch.rand(len(x), device=x.device)
            penalty = penalty + self.gp * gradient_penalty(self.critic, x, fake, y, mix)
        fake_scores = self.critic(fake, y)
        value = self.objective.critic(real_scores, fake_scores)
        logs = {
            "critic": value.detach(),
            "penalty": penalty.detach(),
            "score_real": real_scores.detach().mean(),
            "score_fake": fake_scores.detach().mean(),
        }
        return Loss(value + penalty, logs)

    def training_step(self, batch: Batch, index: int) -> None:
        """A critic step, and every `n_critic` batches a generator step."""
        x, y = self.view.encode(batch.ids), batch.y
        generator_opt, critic_opt = self.optimizers()
        loss = self.critic_loss(x, y)
        self._step(critic_opt, loss.value)
        self.logs = loss.logs
        if index % self.n_critic == self.n_critic - 1:
            self.critic.requires_grad_(False)
            loss = self.loss(x, y)
            self._step(generator_opt, loss.value)
            self.critic.requires_grad_(True)
            self.logs = self.logs | loss.logs
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def validation_step(self, batch: Batch, index: int) -> None:
        """The critic's mean score of unseen data: falling below `score_real` means memorising."""
        score = self.critic(self.view.encode(batch.ids), batch.y).mean()
        self.log("val/score_real", score, batch_size=len(batch.ids), sync_dist=True)

    def draw(self, n: int, y: Tensor | None, sampler: Prior, rng: Rng) -> Iterator[Tensor]:
        """One state: decoded latents."""
        yield self.generate(sampler.z(self.latent, rng), y)

    def configure_optimizers(self) -> tuple[list, list]:
        """Generator first, critic second, each with its rate schedule by batches."""
        generator = self.make_optimizer(decayed(self.generator))
        critic = self.make_optimizer(decayed(self.critic))
        for group in critic.param_groups:
            group["lr"] *= self.critic_lr
        return [generator, critic], [LambdaLR(opt, self.lr_at) for opt in (generator, critic)]

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), self.latent, device=x.device)

    def _step(self, optimizer: Any, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    @property
    def sampled_net(self) -> nn.Module:
        """The generator."""
        return self.generator
