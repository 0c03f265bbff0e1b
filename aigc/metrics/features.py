"""Feature extractors: fixed before any model is seen, fitted on training data only, named by a
hash."""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.registry import Registry

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Extractor(Protocol):
    """`id` names kind and size, `sha` what it computes; a call maps data to `(n, d)` float64."""

    id: str
    sha: str
    source: str  # what it reads: the codec's "field" or "features", or decoded "data"

    def __call__(self, x: Any) -> Tensor:
        """Features of a batch."""


EXTRACTORS: Registry[Callable[..., Extractor]] = Registry("extractor")


class RandConv:
    """Three random convolutions (random layers for rows of a table), averaged over positions.

    Random features rank models much like trained ones (Naeem et al. 2020; Lee et al. 2022) and
    prefer no family. Weights come from `seed`; outputs are scaled by the training data's spread.
    """

    source = "field"

    def __init__(self, train: Tensor, dims: int = 64, seed: int = 0):
        self.id, rank = f"randconv{dims}", train.ndim - 2
        generator = torch.Generator().manual_seed(seed)
        sizes = [train.shape[1], 32, 64, dims]
        kernel = (3,) * rank if rank else ()
        self.weights = []
        for inp, out in pairwise(sizes):
            w = torch.randn(out, inp, *kernel, generator=generator, dtype=torch.float64)
            self.weights.append((w * (2 / w[0].numel()) ** 0.5).float())
        self.rank, self.scale = rank, 1.0
        raw = self._raw(train)
        self.scale = float((raw.var(0).mean() + 1e-12).sqrt())
        self.sha = sha_of(*self.weights, torch.tensor(self.scale))

    def __call__(self, x: Tensor) -> Tensor:
        """`(n, C, *S)` or `(n, d)` to `(n, dims)`."""
        return self._raw(x) / self.scale

    def _raw(self, x: Tensor) -> Tensor:
        parts = []
        for h in x.float().split(512):
            for i, w in enumerate(self.weights):
                if self.rank:
                    h = CONV[self.rank](h, w.to(h.device), stride=1 + (i > 0), padding=1)
                else:
                    h = h @ w.T.to(h.device)
                h = F.leaky_relu(h, 0.2)
            parts.append(h.flatten(2).mean(2) if self.rank else h)
        return torch.cat(parts).double()


class PCA:
    """The leading principal components of the training data (n-gram frequencies for text)."""

    source = "features"

    def __init__(self, train: Tensor, dims: int = 64, seed: int = 0):
        train = train.double()
        dims = min(dims, *train.shape)
        self.id = f"pca{dims}"
        self.mean = train.mean(0)
        covariance = torch.cov(train.T)
        values, vectors = torch.linalg.eigh(covariance.reshape(train.shape[1], -1))
        self.axes = vectors.flip(1)[:, :dims]
        self.scale = float((values.flip(0)[:dims].mean() + 1e-12).sqrt())
        # An eigenvector's sign is arbitrary and no metric sees it: hash what does matter.
        self.sha = sha_of(self.mean.float(), values.flip(0)[:dims].float())

    def __call__(self, x: Tensor) -> Tensor:
        """`(n, d)` to `(n, dims)`."""
        return (x.double() - self.mean) @ self.axes / self.scale


class Raw:
    """The codec's features as they are."""

    source = "features"

    def __init__(self, train: Tensor, dims: int = 64, seed: int = 0):
        self.id, self.sha = f"raw{train.shape[1]}", "none"

    def __call__(self, x: Tensor) -> Tensor:
        """`(n, d)` in float64."""
        return x.double()


EXTRACTORS.add("randconv", RandConv)
EXTRACTORS.add("pca", PCA)
EXTRACTORS.add("raw", Raw)


def dims_for(n: int, most: int = 64) -> int:
    """The largest power of two, at most `most`, for which `n` examples fill eight times the
    features."""
    dims = 2
    while dims * 2 <= min(most, n // 8):
        dims *= 2
    return dims


def sha_of(*tensors: Tensor) -> str:
    """Six hex digits of the tensors to four decimals."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update((tensor * 1e4).round().long().numpy().tobytes())
    return digest.hexdigest()[:6]
