"""What a critic tells of an example besides its score: its class, and the codes it was made
from."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Codes:
    """Codes that a generator is made to keep (InfoGAN, Chen et al. 2016): one category of
    `categories`, and `continuous` numbers, uniform in (-1, 1).

    They are read off the first entries of a standard normal latent, so that every sampler of
    latents is one of codes: the largest of K normals is a fair category, and their distribution
    function makes normals uniform.
    """

    categories: int = 0
    continuous: int = 0

    @property
    def width(self) -> int:
        """Entries of the latent, and heads of the critic, that they take."""
        return self.categories + self.continuous

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The category `(B,)` (0 where there is none) and the numbers `(B, continuous)` of a
        latent."""
        first, second = z[:, : self.categories], z[:, self.categories : self.width]
        category = first.argmax(1) if self.categories else z.new_zeros(len(z), dtype=torch.long)
        return category, torch.erf(second / 2**0.5)

    def read(self, z: Tensor) -> Tensor:
        """What the generator sees of a latent, as wide as it: one of K, numbers, and the rest as
        noise."""
        category, numbers = self.split(z)
        parts = [numbers, z[:, self.width :]]
        if self.categories:
            parts.insert(0, F.one_hot(category, self.categories).to(z.dtype))
        return torch.cat(parts, dim=1)

    def loss(self, heads: Tensor, z: Tensor) -> Tensor:
        """`-E log Q(c | x)` but for constants (eq. 5): logits and means `(B, width)`, the numbers
        by a Gaussian of unit variance; the lower it is, the more the data tell of their codes."""
        category, numbers = self.split(z)
        value = (heads[:, self.categories :] - numbers).square().sum(1).mean() / 2
        if self.categories:
            value = value + F.cross_entropy(heads[:, : self.categories], category)
        return value


@dataclass(frozen=True)
class Heads:
    """The critic's outputs after its score, and their weights: logits of `classes` where
    `auxiliary > 0` (Odena et al. 2017), then those of `codes` where `info > 0`."""

    classes: int
    auxiliary: float
    codes: Codes
    info: float

    @property
    def width(self) -> int:
        """How many outputs they are."""
        return (self.classes if self.auxiliary else 0) + (self.codes.width if self.info else 0)

    def loss(
        self, out: Tensor, y: Tensor | None, z: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What a critic's outputs `(B, 1 + width)` lack of labels `y` (-1 = none) and, of generated
        data, the codes of their latents `z`."""
        value, logs = out.new_zeros(()), {}
        if self.auxiliary:
            logs["class"] = F.cross_entropy(out[:, 1 : 1 + self.classes], y, ignore_index=-1)
            value = value + self.auxiliary * logs["class"]
        if self.info and z is not None:
            logs["codes"] = self.codes.loss(out[:, -self.codes.width :], z)
            value = value + self.info * logs["codes"]
        return value, {name: term.detach() for name, term in logs.items()}
