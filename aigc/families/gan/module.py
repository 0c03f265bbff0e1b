"""The GAN family as a Lightning module, with two optimizers by hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Batch, Spec
from aigc.families.base import GenerativeModule, Loss, decayed, fused
from aigc.families.gan.heads import Codes, Heads
from aigc.families.gan.objective import NonSaturating
from aigc.families.gan.penalties import Penalties, consistency, normalised
from aigc.families.gan.sampling import Judged, Prior, Verdict
from aigc.families.latents import Walk

TYPICAL = 256  # generated examples by whose scores others are judged


class GAN(GenerativeModule):
    """A generator (`decoder` role) against a critic (`encoder` role).

    The critic's first output is its score; heads follow: a class where `auxiliary > 0` (which it
    is then not told; Odena et al. 2017), `Codes(categories, continuous)` where `info > 0`.
    `r1`, `r2`, `gp`, `dragan`, `lecam` and `consistency` weigh its penalties, 0 = off;
    `spectral` norm and `weight_clip` bound its weights. It judges `pack` examples at once,
    concatenated along channels (Lin et al. 2018).

    `augment` is None or a callable of data `(B, *spec.shape)`, differentiable, that draws from
    torch's global generator: the critic sees real and generated data through it in every step, or
    through it and not in the term of `consistency` alone. Where it has `update(score_real)`, that
    is called after each critic step with the scores `(B, 1)` of the real data. As an `nn.Module`
    it may keep its strength in a buffer.

    With `straight_through` generated data are rounded to valid data and the gradient passes as if
    they were not (Bengio et al. 2013): the critic cannot tell them by values that no real one has.

    `n_critic` is critic steps for one generator step, `critic_lr` the ratio of the rates, `clip`
    the largest norm of either net's gradient. Batches are taken in `parts`, whose gradients add up
    to the batch's but for batch norm and what else looks at several examples.
    """

    roles = ("encoder", "decoder")
    samplers = (Prior, Walk)
    parts = 1

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        objective: Any = NonSaturating(),
        latent: int = 64,
        r1: float = 0.0,
        r2: float = 0.0,
        gp: float = 0.0,
        dragan: float = 0.0,
        lecam: float = 0.0,
        consistency: float = 0.0,
        augment: Any = None,
        pack: int = 1,
        straight_through: bool = False,
        spectral: bool = False,
        weight_clip: float | None = None,
        auxiliary: float = 0.0,
        info: float = 0.0,
        categories: int = 10,
        continuous: int = 2,
        n_critic: int = 1,
        critic_lr: float = 1.0,
        clip: float | None = None,
        **common,
    ):
        super().__init__(**common)
        self.automatic_optimization = False
        self.objective, self.latent, self.augment = objective, latent, augment
        self.consistency, self.pack, self.weight_clip = consistency, pack, weight_clip
        self.straight_through = straight_through
        self.n_critic, self.critic_lr, self.clip = n_critic, critic_lr, clip
        spec = self.view.spec
        self.heads = Heads(spec.classes, auxiliary, Codes(categories, continuous), info)
        self._refuse()
        self.penalties = Penalties(r1, r2, gp, dragan, lecam)
        self.generator = decoder(spec, latent=latent)
        self.critic = encoder(self._judged(spec), out=1 + self.heads.width)
        if spectral:
            normalised(self.critic)

    def generate(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Latents `(B, latent)` to data, in (-1, 1) unless they are continuous."""
        x = self.generator(self.heads.codes.read(z) if self.heads.info else z, y)
        x = x.tanh() if self.view.spec.quantum else x
        if self.straight_through:
            x = x + (self.view.encode(self.view.decode(x)).to(x.dtype) - x).detach()
        return x

    def shown(self, x: Tensor) -> Tensor:
        """Data `(B, *spec.shape)` as the critic sees them: augmented, and `pack` in a row."""
        if self.augment and not self.consistency:
            x = self.augment(x)
        return packed(x, self.pack)

    def scores(self, x: Tensor, y: Tensor | None) -> Tensor:
        """How real the critic finds data `(B, *spec.shape)`, not augmented: `(B / pack, 1)`."""
        return self._judge(packed(x, self.pack), y)[:, :1]

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The generator's loss for as many fakes as `x` has rows."""
        z = self._noise(x)
        out = self._judge(self.shown(self.generate(z, y)), y)
        scores = [out[:, :1]]
        if self.objective.paired:
            with torch.no_grad():
                scores.append(self._judge(self.shown(x), y)[:, :1])
        value = self.objective.generator(*scores)
        told, _ = self.heads.loss(out, y, z)
        return Loss(value + told, {"generator": value.detach()})

    def critic_loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """The critic's loss with its penalties and heads."""
        z = self._noise(x)
        with torch.no_grad():
            made = self.generate(z, y).to(x.dtype)
        real, fake = self.shown(x), self.shown(made)
        real_out, fake_out, penalty = self.penalties(self._judge, real, fake, y)
        real_scores, fake_scores = real_out[:, :1], fake_out[:, :1]
        if self.consistency:
            for scores, data in ((real_scores, x), (fake_scores, made)):
                term = consistency(self._judge, scores, data, self.augment, y)
                penalty = penalty + self.consistency * term
        if hasattr(self.augment, "update"):
            self.augment.update(real_scores.detach())
        value = self.objective.critic(real_scores, fake_scores)
        on_real, _ = self.heads.loss(real_out, y)
        on_fake, told = self.heads.loss(fake_out, y, z)
        logs = {
            "critic": value.detach(),
            "penalty": penalty.detach(),
            "score_real": real_scores.detach().mean(),
            "score_fake": fake_scores.detach().mean(),
        }
        if hasattr(self.augment, "p"):
            logs["augment"] = self.augment.p.clone()
        return Loss(value + penalty + on_real + on_fake, logs | told)

    def training_step(self, batch: Batch, index: int) -> None:
        """A critic step, and every `n_critic` batches a generator step."""
        x, y = self.view.encode(batch.ids), batch.y
        generator_opt, critic_opt = self.optimizers()

        def critic_loss(x: Tensor, y: Tensor | None) -> Loss:
            with self.attacked(x, lambda x: -self.scores(x, y).sum()) as real:
                return self.critic_loss(real, y)

        self.logs = {}
        self._step(critic_opt, critic_loss, x, y)
        if self.weight_clip:
            with torch.no_grad():
                for p in self.critic.parameters():
                    p.clamp_(-self.weight_clip, self.weight_clip)
        if index % self.n_critic == self.n_critic - 1:
            with frozen(self.critic):
                self._step(generator_opt, self.loss, x, y)
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Here mixed precision has unscaled the gradients: log their norm, and bound it."""
        first = self.optimizers(use_pl_optimizer=False)[0]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = vars(optimizer).pop("grad_norm", None)  # where a guard has found it
        if norm is None:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        self.logs[f"grad_{'generator' if optimizer is first else 'critic'}"] = norm

    def validation_step(self, batch: Batch, index: int) -> None:
        """The critic's mean score of unseen data: falling below `score_real` means memorising."""
        score = self.scores(self.view.encode(batch.ids), batch.y).mean()
        self.log_mean("val/score_real", score, len(batch.ids))

    def draw(self, n: int, y: Tensor | None, sampler: Prior | Walk, rng: Rng) -> Iterator[Tensor]:
        """One state: decoded latents."""
        if isinstance(sampler, Judged):
            z = sampler.choose(self.latent, rng, self.verdict(y))
        else:
            z = sampler.z(self.latent, rng)
        yield self.generate(z, y)

    def verdict(self, y: Tensor | None) -> Verdict:
        """What the critic says of latents that go with labels `y`."""
        if self.pack > 1:
            raise BadInput("the critic judges packs of examples (model.pack), not single ones")

        def score(z: Tensor, y: Tensor | None = y) -> Tensor:
            return self.scores(self.generate(z, y), y)[:, 0]

        def typical() -> Tensor:
            rng = Rng(0, torch.arange(TYPICAL, device=self.device))
            return score(rng.normal(self.latent), self._labels(TYPICAL, None, 0, 0))

        return Verdict(score, typical)

    def configure_optimizers(self) -> tuple[list, list]:
        """Generator first, critic second, each with its rate schedule by batches."""
        both = [self._optimizer(self.generator), self._optimizer(self.critic, self.critic_lr)]
        return both, [LambdaLR(optimizer, self.lr_at) for optimizer in both]

    @property
    def sampled_net(self) -> nn.Module:
        """The generator."""
        return self.generator

    def _judged(self, spec: Spec) -> Spec:
        """What the critic sees of an example."""
        channels, *rest = spec.shape
        quantum = spec.quantum * self.pack if isinstance(spec.quantum, tuple) else spec.quantum
        classes = 0 if self.heads.auxiliary else spec.classes
        shape = (self.pack * channels, *rest)
        return replace(spec, shape=shape, quantum=quantum, classes=classes)

    def _judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """All outputs of the critic `(B, 1 + heads)`, in full precision."""
        return self.critic(x, None if self.heads.auxiliary else y).float()

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), self.latent, device=x.device)

    def _optimizer(self, net: nn.Module, ratio: float = 1.0) -> torch.optim.Optimizer:
        try:
            optimizer = fused(self.make_optimizer(decayed(net)))
        except ValueError as error:  # a rate or a beta out of range
            raise BadInput(f"optimizer: {error}") from error
        for group in optimizer.param_groups:
            group["lr"] *= ratio * group.get("lr_scale", 1.0)
        return optimizer

    def _step(
        self, optimizer: Any, loss_of: Callable[..., Loss], x: Tensor, y: Tensor | None
    ) -> None:
        """A step by the gradients of all parts, each weighted by its share of the batch."""
        optimizer.zero_grad()
        logs: dict[str, Any] = {}
        size = -(-len(x) // (self.parts * self.pack)) * self.pack
        for part, labels in zip(x.split(size), repeat(None) if y is None else y.split(size)):
            share, loss = len(part) / len(x), loss_of(part, labels)
            # By hand, the backward pass lies in the step, and so under its autocast, which would
            # round the gradients of gradients.
            with torch.autocast(x.device.type, enabled=False):
                self.manual_backward(share * loss.value)
            logs = {name: logs.get(name, 0) + share * v for name, v in loss.logs.items()}
        self.logs = self.logs | logs
        optimizer.step()

    def _refuse(self) -> None:
        spec, heads = self.view.spec, self.heads
        if self.pack > 1 and (spec.classes or spec.caption or heads.info or self.consistency):
            raise BadInput(
                f"model.pack={self.pack}: a pack has no one label or code; use labels=false, "
                "model.info=0, model.consistency=0"
            )
        if heads.auxiliary and not spec.classes:
            raise BadInput("model.auxiliary: the data have no classes to tell apart")
        if self.consistency and not self.augment:
            raise BadInput("model.consistency: needs model.augment")
        if heads.info and not 0 < heads.codes.width <= self.latent:
            raise BadInput(
                f"model.categories + model.continuous = {heads.codes.width}: "
                f"1 to model.latent = {self.latent}"
            )


def packed(x: Tensor, pack: int) -> Tensor:
    """`(B, C, *S)` to `(ceil(B / pack), pack * C, *S)`: neighbours share a row, the first ones fill
    the last row."""
    if pack == 1:
        return x
    if len(x) % pack:
        x = x[torch.arange(-(-len(x) // pack) * pack, device=x.device) % len(x)]
    return x.reshape(len(x) // pack, pack * x.shape[1], *x.shape[2:])


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Take no gradient of a network's parameters."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
