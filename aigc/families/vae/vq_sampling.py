"""Where the codes of a VQ-VAE come from when it has no prior but how often they occur."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.core.rng import Rng


@dataclass(frozen=True)
class Frequencies:
    """Every code by itself, as often as in the training data at its place: what a prior over codes
    has to beat. `uniform` takes all that occur equally often."""

    uniform: bool = False

    def __call__(self, counts: Tensor, rng: Rng) -> Tensor:
        """Codes `(B, T)` from `counts (T, K)`."""
        weights = (counts > 0).double() if self.uniform else counts.double()
        cdf = weights.cumsum(1)
        u = rng.uniform(len(counts)).T * cdf[:, -1:]
        return torch.searchsorted(cdf, u.contiguous(), right=True).clamp(max=cdf.shape[1] - 1).T
