"""What a finished run's latents are, whatever the family that has some."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.families.base import GenerativeModule


def kl_by_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """`KL(q(z_i | x) || N(0, 1))` in nats, the mean over examples, `(L,)`, from posteriors
    `(N, L)`."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).mean(0)


def directions(model: GenerativeModule) -> Tensor:
    """Directions `(D, L)` worth a look, the first one first: a VAE's axes by their KL over
    training examples, a GAN's by `sefa`."""
    if "latents" in model.provides:
        kl = kl_by_dimension(model.bank.mean, model.bank.log_var)
        return torch.eye(len(kl), device=kl.device)[kl.argsort(descending=True)]
    return sefa(model.generator, torch.zeros(2, model.latent, device=model.device))


def sefa(generator: nn.Module, z: Tensor) -> Tensor:
    """Eigenvectors of `A^T A`, largest first, for the layers `A` that read the latent: the
    directions `(L, L)` that move them most (Shen & Zhou 2021, eq. 4)."""
    with linear_readers(generator, z) as readers, torch.no_grad():
        generator(z)
    if not readers:
        raise BadInput(f"{type(generator).__name__} has no linear layer that reads its latent")
    weight = torch.cat([layer.weight.double().cpu() for layer in readers])
    return torch.linalg.eigh(weight.T @ weight)[1].flip(1).T.float().to(z.device)


@contextmanager
def linear_readers(net: nn.Module, z: Tensor) -> Iterator[list[nn.Linear]]:
    """Collects the linear layers that are given `z` itself while the net runs."""
    found: list[nn.Linear] = []

    def note(layer: nn.Linear, inputs: tuple) -> None:
        if inputs[0] is z:
            found.append(layer)

    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
