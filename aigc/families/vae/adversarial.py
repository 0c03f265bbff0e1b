"""A critic of reconstructions (Larsen et al. 2016), as an auxiliary loss of the same step."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from aigc.families.vae.objective import Cost, fixed


@dataclass(frozen=True)
class Adversarial:
    """`weight` times the non-saturating loss of the reconstructions under a critic.

    The critic learns in the same backward pass: its own loss sees them detached, and the term
    sees its parameters fixed, so the sum of both losses has the gradients of two optimizers.
    """

    weight: float = 0.05

    def __call__(self, critic: nn.Module, x: Tensor, x_hat: Tensor, y: Tensor | None) -> Cost:
        """Outside training the critic's own loss is left out."""
        term = self.weight * F.softplus(-fixed(critic, x_hat, y)).mean()
        logs = {"adversarial": term.detach()}
        if not critic.training:
            return term, logs
        real, fake = critic(x, y), critic(x_hat.detach(), y)
        own = 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
        return term + own, logs | {"critic": own.detach()}
