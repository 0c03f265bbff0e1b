"""Learned views: the latents or the codes of a trained model, behind the interface of all views.

They decode to that model's own view, and by it to ids. No learned view is a bijection: its
`likelihood` says what a likelihood of what a family sees says of the ids.
"""

from typing import Any

import torch
from torch import Tensor, nn

from aigc.core.spec import Space, Spec


class _Learned:
    """A frozen model, shared by all copies of the view; no module takes its weights for its own,
    since a view is none."""

    def __init__(self, model: Any):
        self.model: nn.Module = model.eval().requires_grad_(False)
        self.device: torch.device | None = None

    def __deepcopy__(self, memo: dict) -> "_Learned":
        return self

    def _on(self, device: torch.device) -> Any:
        """The model where the data are."""
        if self.device != device:
            self.model, self.device = self.model.to(device), device
        return self.model


class Latent(_Learned):
    """Posterior means of a trained VAE as continuous floats (Rombach et al. 2022), each channel
    with mean 0 and variance 1 over the training examples whose `means (N, *latent_shape)` are
    given.

    A density of latents is no likelihood of the ids.
    """

    likelihood = "none"

    def __init__(self, model: Any, means: Tensor, space: Space):
        super().__init__(model)
        axes = [axis for axis in range(means.ndim) if axis != 1]
        self.mean = means.mean(axes, keepdim=True)
        self.sd = means.std(axes, keepdim=True).clamp(min=1e-3)  # a channel may carry nothing
        self.spec = Spec(tuple(means.shape[1:]), **space.given)

    @torch.no_grad()
    def encode(self, ids: Tensor) -> Tensor:
        """Ids `(B, *space.shape)` to floats `(B, *latent_shape)`."""
        model = self._on(ids.device)
        z = model.encode(model.view.encode(ids))
        return (z - self.mean.to(z)) / self.sd.to(z)

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Floats to the nearest ids of what the VAE's decoder says."""
        model = self._on(x.device)
        return model.view.decode(model.decode(x * self.sd.to(x) + self.mean.to(x)))


class Codes(_Learned):
    """Codes of a trained VQ-VAE as tokens, those of one position side by side (van den Oord et al.
    2017).

    The nats of the codes and of the data given them bound those of the ids.
    """

    allowed, end = None, -1

    def __init__(self, model: Any, space: Space):
        super().__init__(model)
        length, size = model.counts.shape
        self.spec = Spec((length,), size, **space.given)
        self.likelihood = getattr(model.view, "likelihood", "bound")

    @torch.no_grad()
    def encode(self, ids: Tensor) -> Tensor:
        """Ids `(B, *space.shape)` to tokens `(B, T)`."""
        model = self._on(ids.device)
        return model.encode(model.view.encode(ids))

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """Tokens to the nearest ids of what the VQ-VAE's decoder says."""
        model = self._on(x.device)
        return model.view.decode(model.decode(x))

    @torch.no_grad()
    def nats(self, ids: Tensor) -> Tensor:
        """What is left to tell of the ids when the tokens are known, `(B,)`."""
        model = self._on(ids.device)
        x = model.view.encode(ids)
        return model.distortion(x, model.encode(x))


LEARNED = {"latent": Latent, "vq": Codes}
