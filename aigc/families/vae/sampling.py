"""Where a VAE's latents come from, and whether the decoder's noise is added."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng

Gaussians = tuple[Tensor, Tensor, Tensor]  # weights (K,), means (K, L), Cholesky factors (K, L, L)


@dataclass(frozen=True)
class Bank:
    """Posteriors of training examples: `mean, log_var (M, L)` and labels `y (M,)`, zeros
    without."""

    mean: Tensor
    log_var: Tensor
    y: Tensor
    _fits: dict[tuple[int, int], Gaussians] = field(default_factory=dict)

    def mixture(self, label: int, components: int) -> Gaussians:
        """A Gaussian mixture fitted to draws from the posteriors of one class, made once."""
        if (label, components) not in self._fits:
            rows = self.y == label
            rows = rows if rows.any() else torch.ones_like(rows)
            fit = _fit(self.mean[rows], self.log_var[rows], components)
            self._fits[label, components] = fit
        return self._fits[label, components]


@dataclass(frozen=True)
class Sampler:
    """`noise` draws data from `p(x | z)`; without it the decoder's most probable data are shown."""

    noise: bool = True


@dataclass(frozen=True)
class Prior(Sampler):
    """`z ~ N(0, temperature**2 I)`."""

    temperature: float = 1.0

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        return self.temperature * rng.normal(bank.mean.shape[1])


@dataclass(frozen=True)
class Mixture(Sampler):
    """A Gaussian mixture fitted to the aggregate posterior, one for each class (Ghosh et al. 2020).

    It closes the gap between the prior and where the encoder really puts the data.
    """

    components: int = 4

    def __post_init__(self):
        if self.components < 1:
            raise BadInput(f"sampler.components={self.components}: at least 1")

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        if not len(bank.mean):
            raise BadInput("sampler=mixture needs a trained run: this model has seen no data")
        if y is None or y.ndim > 1:  # captions share one mixture
            y = torch.zeros(len(rng), dtype=torch.long, device=rng.device)
        u, eps = rng.uniform(1)[:, 0], rng.normal(bank.mean.shape[1])
        z = torch.empty_like(eps)
        for label in y.unique().tolist():
            rows = y == label
            weights, means, factors = bank.mixture(label, self.components)
            which = torch.searchsorted(weights.cumsum(0), u[rows]).clamp(max=len(weights) - 1)
            z[rows] = means[which] + (factors[which] * eps[rows][:, None]).sum(-1)
        return z


def _fit(mean: Tensor, log_var: Tensor, components: int) -> Gaussians:
    from sklearn.mixture import GaussianMixture

    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(4, *mean.shape, generator=generator)
    draws = (mean.cpu() + (0.5 * log_var.cpu()).exp() * eps).flatten(0, 1).double().numpy()
    # Few examples cannot carry many full covariances: at least two draws a dimension and component.
    components = max(1, min(components, len(draws) // (2 * mean.shape[1])))
    mixture = GaussianMixture(components, reg_covar=1e-4, random_state=0).fit(draws)
    covariances = torch.from_numpy(mixture.covariances_)
    parts = torch.from_numpy(mixture.weights_), torch.from_numpy(mixture.means_)
    weights, means = parts[0].to(mean.device), parts[1].float().to(mean.device)
    return weights, means, torch.linalg.cholesky(covariances).float().to(mean.device)
