"""Simple models that every table carries as rows: what a value would be without learning
anything deep."""

import torch
from torch import Tensor


class Marginals:
    """Every id drawn from its own frequencies in the training data, independent of the others."""

    def __init__(self, train: Tensor, levels: int | tuple[int, ...]):
        flat = train.flatten(1)
        top = levels if isinstance(levels, int) else max(levels)
        counts = torch.zeros(flat.shape[1], top, dtype=torch.float64)
        counts.scatter_add_(1, flat.T, torch.ones_like(flat.T, dtype=torch.float64))
        self.counts, self.levels, self.shape = counts, levels, train.shape[1:]

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Ids `(n, *shape)`."""
        generator = torch.Generator().manual_seed(seed)
        ids = torch.multinomial(self.counts, n, replacement=True, generator=generator)
        return ids.T.reshape(n, *self.shape)

    def nats(self, ids: Tensor) -> Tensor:
        """`-log p` of each example under frequencies with half a count added to each level
        (Krichevsky)."""
        levels = torch.as_tensor(self.levels).expand(len(self.counts))
        total = self.counts.sum(1) + 0.5 * levels
        p = (self.counts.gather(1, ids.flatten(1).T) + 0.5) / total[:, None]
        return -p.log().sum(0)


class GaussianFit:
    """One Gaussian with full covariance fitted to the ids, rounded to valid ids."""

    def __init__(self, train: Tensor, levels: int | tuple[int, ...]):
        flat = train.flatten(1).double()
        self.mean = flat.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(flat.T).reshape(flat.shape[1], -1))
        self.root = vectors * values.clamp(min=0).sqrt()
        self.top = torch.as_tensor(levels) - 1
        self.shape = train.shape[1:]

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Ids `(n, *shape)`."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64)
        ids = (self.mean + z @ self.root.T).round().long()
        return torch.minimum(ids.clamp(min=0), self.top).reshape(n, *self.shape)
