"""What a finished run's latents are, whatever the family that has some."""

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.families.base import GenerativeModule
from aigc.families.gan.directions import latent_weights, sefa


def kl_by_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """`KL(q(z_i | x) || N(0, 1))` in nats, the mean over examples, `(L,)`, from posteriors
    `(N, L)`."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).mean(0)


def directions(model: GenerativeModule) -> Tensor:
    """Directions `(D, L)` worth a look, the first one first: a VAE's axes by their KL over
    training examples, a GAN's by `sefa`; BadInput where there is none."""
    if "latents" in model.provides:
        kl = kl_by_dimension(model.bank.mean, model.bank.log_var)
        return torch.eye(len(kl), device=kl.device)[kl.argsort(descending=True)]
    weights = latent_weights(model.generator, torch.zeros(2, model.latent, device=model.device))
    if not weights:
        name = type(model.generator).__name__
        raise BadInput(f"{name} has no linear layer that reads its latent: no direction to follow")
    return sefa(weights, model.latent)
