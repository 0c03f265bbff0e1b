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


class Smote:
    """Between a training row and one of its five nearest of the same class, at random: a table's
    baseline without training (Chawla et al. 2002), which stays close to its rows.

    Ordered columns are interpolated and rounded, of the others either row's value is taken;
    columns count by their range, categories as equal or not.
    """

    NEIGHBOURS = 5

    def __init__(
        self,
        train: Tensor,
        y: Tensor | None,
        levels: tuple[int, ...],
        ordered: tuple[bool, ...],
    ):
        self.train, self.y = train.cpu(), None if y is None else y.cpu()
        self.scale = torch.tensor(levels).sub(1).clamp(min=1).double()
        self.ordered = torch.tensor(ordered)

    def sample(self, n: int, seed: int = 0) -> tuple[Tensor, Tensor | None]:
        """Ids `(n, columns)` and the labels of the rows they started from."""
        generator = torch.Generator().manual_seed(seed)
        base = torch.randint(len(self.train), (n,), generator=generator)
        other = torch.cat([self._neighbour(i, generator) for i in base.split(256)])
        share = torch.rand(n, 1, generator=generator, dtype=torch.float64)
        a, b = self.train[base], self.train[other]
        between = (a + share * (b - a)).round().long()
        either = torch.where(torch.rand(a.shape, generator=generator) < 0.5, a, b)
        ids = torch.where(self.ordered, between, either)
        return ids, None if self.y is None else self.y[base]

    def _neighbour(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The number of one of the nearest others of the same class, for each row."""
        a, b = self.train[rows].double(), self.train.double()
        gap = torch.cdist((a / self.scale)[:, self.ordered], (b / self.scale)[:, self.ordered]) ** 2
        for column in (~self.ordered).nonzero().flatten():
            gap += a[:, None, column] != b[None, :, column]
        gap[torch.arange(len(rows)), rows] = torch.inf
        if self.y is not None:
            gap[self.y[rows, None] != self.y[None]] = torch.inf
        k = min(self.NEIGHBOURS, len(self.train) - 1)
        near, index = gap.topk(k, largest=False)
        pick = (torch.rand(len(rows), generator=generator) * near.isfinite().sum(1)).long()
        found = index.gather(1, pick[:, None])[:, 0]
        return torch.where(near[:, 0].isfinite(), found, rows)
