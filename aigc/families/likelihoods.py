"""Probabilities of discretised values: every id is an interval of floats, so mass sums to one.

The interval of a value is half a `quantum` to either side; those of the lowest and the highest
level reach to infinity (Salimans et al. 2017, eq. 2). A tuple of quanta, one a feature, serves
tables.
"""

from collections.abc import Callable
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.rng import Rng
from aigc.core.spec import Spec


def as_quantum(spec: Spec) -> Tensor:
    """The width of a level, broadcastable to `spec.shape`."""
    return torch.tensor(spec.quantum)


def discretized(
    x: Tensor, mean: Tensor, scale: Tensor, quantum: Tensor, log_cdf: Callable[[Tensor], Tensor]
) -> Tensor:
    """Log probability of each value `x` in [-1, 1] under a symmetric location-scale law,
    elementwise."""
    upper = (x + quantum / 2 - mean) / scale
    lower = (x - quantum / 2 - mean) / scale
    # The law is symmetric: measure both edges from the side where the tail is small.
    flip = upper + lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    at_bottom, at_top = x <= -1 + quantum / 4, x >= 1 - quantum / 4
    upper = torch.where(torch.where(flip, at_bottom, at_top), torch.inf, upper)
    lower_open = torch.where(flip, at_top, at_bottom)
    high = torch.where(upper.isinf(), 0.0, log_cdf(upper.clamp(max=1e4)))
    low = log_cdf(lower.clamp(min=-1e4))
    gap = torch.where(lower_open, -torch.inf, low - high).clamp(max=-1e-7)
    return high + torch.log(-torch.expm1(gap))


def discretized_logistic(x: Tensor, mean: Tensor, scale: Tensor, quantum: Tensor) -> Tensor:
    """Elementwise log probability under a discretised logistic."""
    return discretized(x, mean, scale, quantum, F.logsigmoid)


def discretized_gaussian(x: Tensor, mean: Tensor, scale: Tensor, quantum: Tensor) -> Tensor:
    """Elementwise log probability under a discretised Gaussian (Ho et al. 2020, eq. 13)."""
    return discretized(x, mean, scale, quantum, torch.special.log_ndtr)


class Logistic(nn.Module):
    """A discretised logistic: the decoder emits a mean and a log scale for each value."""

    width = 2  # numbers that the decoder emits for each value

    def __init__(self, spec: Spec):
        super().__init__()
        self.register_buffer("quantum", as_quantum(spec), persistent=False)

    def nats(self, x: Tensor, out: Tensor) -> Tensor:
        """`-log p(x | out)` of each example `(B,)`."""
        return -discretized_logistic(x, *self._split(out), self.quantum).flatten(1).sum(1)

    def mode(self, out: Tensor) -> Tensor:
        """The most probable values."""
        return self._split(out)[0]

    def mean(self, out: Tensor) -> Tensor:
        """The expected values, with gradients, in the range of the data."""
        return self._split(out)[0].clamp(-1, 1)

    def sample(self, out: Tensor, rng: Rng) -> Tensor:
        """Values drawn from the law."""
        mean, scale = self._split(out)
        u = rng.uniform(*mean.shape[1:]).float().clamp(1e-7, 1 - 1e-7)
        return mean + scale * u.logit()

    def _split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale; the scale starts at 0.37 and stays above a twentieth of a level."""
        mean, log_scale = out.unflatten(1, (-1, 2)).unbind(2)
        return mean, (log_scale - 1).clamp(-12, 3).exp() + self.quantum / 20


class Bernoulli(nn.Module):
    """Two levels: the decoder's output is a logit."""

    width = 1

    def __init__(self, spec: Spec):
        super().__init__()

    def nats(self, x: Tensor, out: Tensor) -> Tensor:
        """`-log p(x | out)` of each example `(B,)`."""
        return F.softplus(-x * out).flatten(1).sum(1)

    def mode(self, out: Tensor) -> Tensor:
        """-1 or 1."""
        return torch.where(out > 0, 1.0, -1.0)

    def mean(self, out: Tensor) -> Tensor:
        """The expected values, with gradients."""
        return (out / 2).tanh()

    def sample(self, out: Tensor, rng: Rng) -> Tensor:
        """-1 or 1, drawn."""
        u = rng.uniform(*out.shape[1:])
        return torch.where(u < out.double().sigmoid(), 1.0, -1.0)


class Categorical(nn.Module):
    """Any law over the levels of a grid: the decoder emits one logit a level."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.width = round(2 / spec.quantum) + 1
        self.quantum = spec.quantum

    def nats(self, x: Tensor, out: Tensor) -> Tensor:
        """`-log p(x | out)` of each example `(B,)`."""
        ids = ((x + 1) / self.quantum).round().long()
        return F.cross_entropy(self._logits(out), ids, reduction="none").flatten(1).sum(1)

    def mode(self, out: Tensor) -> Tensor:
        """The most probable level."""
        return self._logits(out).argmax(1) * self.quantum - 1

    def mean(self, out: Tensor) -> Tensor:
        """The expected values, with gradients."""
        probs = self._logits(out).softmax(1).movedim(1, -1)
        return (
            probs @ torch.arange(self.width, device=out.device, dtype=out.dtype) * self.quantum - 1
        )

    def sample(self, out: Tensor, rng: Rng) -> Tensor:
        """Levels drawn from the law."""
        cdf = self._logits(out).double().softmax(1).cumsum(1)
        u = rng.uniform(*cdf.shape[2:])[:, None]
        ids = (cdf < u * cdf[:, -1:]).sum(1)
        return (ids * self.quantum - 1).float()

    def _logits(self, out: Tensor) -> Tensor:
        """`(B, C * levels, *S)` to `(B, levels, C, *S)`."""
        return out.unflatten(1, (-1, self.width)).movedim(2, 1)


class Gaussian(nn.Module):
    """A density for continuous data: the decoder emits a mean and a log scale for each value."""

    width = 2

    def __init__(self, spec: Spec):
        super().__init__()

    def nats(self, x: Tensor, out: Tensor) -> Tensor:
        """`-log p(x | out)` of each example `(B,)`; a density, so it may be negative."""
        mean, log_scale = self._split(out)
        square = ((x - mean) * torch.exp(-log_scale)).square()
        return (0.5 * square + log_scale + 0.5 * log(2 * pi)).flatten(1).sum(1)

    def mode(self, out: Tensor) -> Tensor:
        """The most probable values."""
        return self._split(out)[0]

    def mean(self, out: Tensor) -> Tensor:
        """The expected values, with gradients."""
        return self._split(out)[0]

    def sample(self, out: Tensor, rng: Rng) -> Tensor:
        """Values drawn from the law."""
        mean, log_scale = self._split(out)
        return mean + log_scale.exp() * rng.normal(*mean.shape[1:])

    def _split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = out.unflatten(1, (-1, 2)).unbind(2)
        return mean, log_scale.clamp(-5, 3)


LIKELIHOODS = {
    "logistic": Logistic,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "gaussian": Gaussian,
}


def default_likelihood(spec: Spec) -> str:
    """Gaussian for continuous data; Bernoulli where all values have two levels, categorical for
    few levels, else logistic."""
    if not spec.quantum:
        return "gaussian"
    if not isinstance(spec.quantum, float):
        return "logistic"
    levels = round(2 / spec.quantum) + 1
    return "bernoulli" if levels == 2 else "categorical" if levels <= 32 else "logistic"
