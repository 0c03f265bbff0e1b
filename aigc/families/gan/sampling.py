"""Where a GAN's latents come from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng


@dataclass(frozen=True)
class Prior:
    """`z ~ N(0, I)`."""

    def z(self, latent: int, rng: Rng) -> Tensor:
        """Latents `(B, latent)`."""
        return rng.normal(latent)


@dataclass(frozen=True)
class Truncation(Prior):
    """Normal latents cut at `threshold` (Brock et al. 2019): fewer modes, cleaner samples."""

    threshold: float = 1.0

    def __post_init__(self):
        if self.threshold <= 0:
            raise BadInput(f"sampler.threshold={self.threshold}: above 0")

    def z(self, latent: int, rng: Rng) -> Tensor:
        """Latents `(B, latent)`, by inverting the normal's distribution function."""
        edge = torch.special.ndtr(torch.tensor(self.threshold, dtype=torch.float64))
        u = (1 - edge) + rng.uniform(latent) * (2 * edge - 1)
        return torch.special.ndtri(u).float()
