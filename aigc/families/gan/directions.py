"""Directions of a latent space in which a generator's output changes most."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def sefa(weights: Sequence[Tensor], k: int) -> Tensor:
    """The `k` leading unit eigenvectors `(k, latent)` of `A' A`, where `A` stacks the weights
    `(out, latent)` that act on the latent: the closed form of Shen & Zhou 2021, eq. 5."""
    A = torch.cat(list(weights)).double()
    _, vectors = torch.linalg.eigh(A.T @ A)
    return vectors.flip(1)[:, :k].T.to(weights[0].dtype)


@torch.no_grad()
def latent_weights(net: nn.Module, z: Tensor, y: Tensor | None = None) -> list[Tensor]:
    """Weights of the linear layers of a generator that are given the latent `z (B, latent)`
    itself, found by one call."""
    found, handles = [], []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0] is z:
            found.append(layer.weight.detach())

    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            handles.append(layer.register_forward_pre_hook(look))
    try:
        net(z, y)
    finally:
        for handle in handles:
            handle.remove()
    return found
