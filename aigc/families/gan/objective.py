"""Adversarial losses on the critic's scores `(B, 1)`: any real number, high = real.

`critic(real, fake)` and `generator(fake)` give scalars. The generator of a `paired` objective is
given the scores of as many real examples as well: `generator(fake, real)`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, with the non-saturating generator loss `-log sigmoid(D)`."""

    paired: ClassVar[bool] = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """`-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z))))`."""
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Its gradient stays large where the critic is sure."""
        return F.softplus(-fake).mean()


@dataclass(frozen=True)
class Minimax(NonSaturating):
    """Goodfellow et al. 2014, eq. 1: the zero-sum game, whose generator stands still where the
    critic is sure."""

    def generator(self, fake: Tensor) -> Tensor:
        """`log(1 - sigmoid(D(G(z))))`."""
        return -F.softplus(fake).mean()


@dataclass(frozen=True)
class Hinge:
    """Lim & Ye 2017; Miyato et al. 2018."""

    paired: ClassVar[bool] = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """No gradient beyond a margin of one."""
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """`-D(G(z))`."""
        return -fake.mean()


@dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017; needs a critic held to be Lipschitz: `gp`, `weight_clip` or
    `spectral`."""

    paired: ClassVar[bool] = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """`D(G(z)) - D(x)`."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """`-D(G(z))`."""
        return -fake.mean()


@dataclass(frozen=True)
class LeastSquares:
    """Mao et al. 2017, eq. 9: scores regress to 1 for real and 0 for generated data."""

    paired: ClassVar[bool] = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Half the squared errors."""
        return ((real - 1).square().mean() + fake.square().mean()) / 2

    def generator(self, fake: Tensor) -> Tensor:
        """Half the squared error to the score of real data."""
        return (fake - 1).square().mean() / 2


@dataclass(frozen=True)
class Relativistic:
    """RpGAN (Jolicoeur-Martineau 2019), the loss of R3GAN (Huang et al. 2024, eq. 2): an example
    is judged against one of the other kind, so that no mode may be left out."""

    paired: ClassVar[bool] = True

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """`-log sigmoid(D(x) - D(G(z)))`, pair by pair."""
        return F.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        """The same with the parts exchanged."""
        return F.softplus(real - fake).mean()
