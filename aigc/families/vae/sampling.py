"""Where a VAE's latents come from, and whether the decoder's noise is added."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.vae.fitted import Second, Transport
from aigc.families.vae.latents import Law

Gaussians = tuple[Tensor, Tensor, Tensor]  # weights (K,), means (K, L), Cholesky factors (K, L, L)


@dataclass(frozen=True)
class Bank:
    """Posteriors of training examples: `mean, log_var (M, L)` and labels `y (M,)`, zeros
    without; and the law of the model's `prior`."""

    mean: Tensor
    log_var: Tensor
    y: Tensor
    prior: Law
    _fits: dict[Hashable, Any] = field(default_factory=dict)

    def fit(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What a sampler fits to the posteriors, made once."""
        if not len(self.mean):
            raise BadInput("this sampler needs a trained run: this model has seen no data")
        if key not in self._fits:
            self._fits[key] = make()
        return self._fits[key]

    def rows(self, label: int) -> Tensor:
        """The posteriors of one class (all, where it has none)."""
        rows = (self.y == label).nonzero()[:, 0]
        return rows if len(rows) else torch.arange(len(self.y), device=self.y.device)

    def draws(self, n: int = 4) -> tuple[Tensor, Tensor]:
        """`n` latents of each posterior `(n * M, L)` and their labels, on the CPU, always the
        same."""
        return _draws(self.mean, self.log_var, n), self.y.cpu().repeat(n)


@dataclass(frozen=True)
class Sampler:
    """`noise` draws data from `p(x | z)`; without it the decoder's most probable data are shown."""

    noise: bool = True


@dataclass(frozen=True)
class Prior(Sampler):
    """The model's own prior, be it normal, VAMP, a flow or a ladder; its noise scaled by
    `temperature`."""

    temperature: float = 1.0

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        eps = self.temperature * rng.normal(bank.mean.shape[1])
        return bank.prior.sample(rng.uniform(1)[:, 0], eps)


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
        y = _labels(y, rng)
        u, eps = rng.uniform(1)[:, 0], rng.normal(bank.mean.shape[1])
        z = torch.empty_like(eps)
        for label in y.unique().tolist():
            rows = y == label
            weights, means, factors = self._fit(bank, label)
            which = torch.searchsorted(weights.cumsum(0), u[rows]).clamp(max=len(weights) - 1)
            z[rows] = means[which] + (factors[which] * eps[rows][:, None]).sum(-1)
        return z

    def _fit(self, bank: Bank, label: int) -> Gaussians:
        def make() -> Gaussians:
            rows = bank.rows(label)
            return _fit(bank.mean[rows], bank.log_var[rows], self.components)

        return bank.fit(("mixture", label, self.components), make)


@dataclass(frozen=True)
class Aggregate(Sampler):
    """The posterior of a training example drawn at random, of the class if there is one: the
    aggregate posterior itself, and so never far from the training data."""

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        y = _labels(y, rng)
        u, eps = rng.uniform(1)[:, 0], rng.normal(bank.mean.shape[1])
        index = torch.empty_like(y)
        for label in y.unique().tolist():
            rows = bank.fit(("rows", label), lambda label=label: bank.rows(label))
            mine = y == label
            index[mine] = rows[(u[mine] * len(rows)).long()]
        return bank.mean[index] + (0.5 * bank.log_var[index]).exp() * eps


@dataclass(frozen=True)
class FlowPrior(Sampler):
    """A flow fitted to the aggregate posterior after training, in `steps` steps."""

    steps: int = 1000

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        eps = rng.normal(bank.mean.shape[1])
        fit = bank.fit(("flow", self.steps), lambda: Transport(*bank.draws(), steps=self.steps))
        return fit(eps, _labels(y, rng))


@dataclass(frozen=True)
class TwoStage(Sampler):
    """A second, small VAE fitted to the latents of the first (Dai & Wipf 2019): where the first
    fills a manifold but not as the prior says, the second learns how."""

    steps: int = 1000

    def z(self, bank: Bank, y: Tensor | None, rng: Rng) -> Tensor:
        """Latents `(B, L)`."""
        u, eps = rng.normal(2, bank.mean.shape[1]).unbind(1)
        fit = bank.fit(("second", self.steps), lambda: Second(*bank.draws(), steps=self.steps))
        return fit(u, eps, _labels(y, rng))


def _labels(y: Tensor | None, rng: Rng) -> Tensor:
    """Labels; captions share one law."""
    return torch.zeros(len(rng), dtype=torch.long, device=rng.device) if _none(y) else y


def _none(y: Tensor | None) -> bool:
    return y is None or y.ndim > 1


def _draws(mean: Tensor, log_var: Tensor, n: int) -> Tensor:
    eps = torch.randn(n, *mean.shape, generator=torch.Generator().manual_seed(0))
    return (mean.cpu() + (0.5 * log_var.cpu()).exp() * eps).flatten(0, 1)


def _fit(mean: Tensor, log_var: Tensor, components: int) -> Gaussians:
    from sklearn.mixture import GaussianMixture

    draws = _draws(mean, log_var, 4).double().numpy()
    # Few examples cannot carry many full covariances: at least two draws a dimension and component.
    components = max(1, min(components, len(draws) // (2 * mean.shape[1])))
    mixture = GaussianMixture(components, reg_covar=1e-4, random_state=0).fit(draws)
    covariances = torch.from_numpy(mixture.covariances_)
    parts = torch.from_numpy(mixture.weights_), torch.from_numpy(mixture.means_)
    weights, means = parts[0].to(mean.device), parts[1].float().to(mean.device)
    return weights, means, torch.linalg.cholesky(covariances).float().to(mean.device)
