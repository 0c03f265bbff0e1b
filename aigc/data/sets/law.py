"""Data of known law: what a perfect model would score is known, so tests and metrics can be
checked."""

import numpy as np
import pandas as pd

from aigc.data.datasets import Source, dataset


@dataset("tabular", kind="law", licence="generated", classes=8)
def ring(n: int = 4000, seed: int = 0) -> Source:
    """Eight Gaussians on a circle of radius 2, standard deviation 0.1; label = mode."""
    angle = 2 * np.pi * np.arange(8) / 8
    return _gaussians(2 * np.stack([np.cos(angle), np.sin(angle)], 1), 0.1, n, seed)


@dataset("tabular", kind="law", licence="generated", classes=25)
def grid(n: int = 5000, seed: int = 0) -> Source:
    """Twenty-five Gaussians on a 5 x 5 grid of step 2, standard deviation 0.05; label = mode."""
    axis = 2.0 * np.arange(-2, 3)
    return _gaussians(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), 0.05, n, seed)


@dataset("text", kind="law", licence="generated")
def markov(
    letters: int = 8, length: int = 400_000, concentration: float = 0.3, seed: int = 0
) -> Source:
    """A first-order Markov chain over letters; `truth` holds its entropy rate in bits a byte."""
    rng = np.random.RandomState(seed)
    transition = rng.dirichlet(np.full(letters, concentration), size=letters)
    stationary = stationary_law(transition)
    cumulative = transition.cumsum(1)
    uniform = rng.rand(length)
    chain = np.empty(length, np.int64)
    state = rng.choice(letters, p=stationary)
    for i in range(length):
        chain[i] = state
        state = min(int(np.searchsorted(cumulative[state], uniform[i], side="right")), letters - 1)
    text = (chain + ord("a")).astype(np.uint8).tobytes().decode("ascii")
    truth = {"entropy_rate": entropy_rate(transition), "marginal_entropy": _entropy(stationary)}
    return Source({"train": [text]}, truth=truth)


@dataset("audio", kind="law", licence="generated", classes=4)
def sines(n: int = 600, seed: int = 0, rate: int = 4000, seconds: float = 0.256) -> Source:
    """Pure tones of random phase in four octaves (125 to 1000 Hz at the octave); label = octave."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 4
    frequency = 125 * 2.0 ** (y + rng.rand(n) * 0.5)
    phase = rng.rand(n) * 2 * np.pi
    t = np.arange(round(rate * seconds)) / rate
    waves = 0.8 * np.sin(2 * np.pi * frequency[:, None] * t + phase[:, None])
    return Source({"train": [(wave, rate) for wave in waves]}, {"train": y})


@dataset("tabular", kind="law", licence="generated", classes=2)
def copula(n: int = 4000, seed: int = 0) -> Source:
    """A Gaussian copula (equicorrelation 0.6) over normal, exponential, uniform and a coin;
    label = coin."""
    from scipy.special import ndtr

    rng = np.random.RandomState(seed)
    correlation = np.full((4, 4), 0.6) + 0.4 * np.eye(4)
    z = rng.multivariate_normal(np.zeros(4), correlation, n)
    u = np.clip(ndtr(z), 1e-12, 1 - 1e-12)
    coin = (u[:, 3] > 0.7).astype(int)
    columns = {
        "normal": z[:, 0],
        "exponential": -np.log1p(-u[:, 1]),
        "uniform": u[:, 2],
        "coin": np.array(["tails", "heads"], dtype=object)[coin],
    }
    return Source({"train": pd.DataFrame(columns)}, {"train": coin}, ["tails", "heads"])


def stationary_law(transition: np.ndarray) -> np.ndarray:
    """The stationary distribution of a Markov chain: the left eigenvector of eigenvalue one."""
    values, vectors = np.linalg.eig(transition.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    return law / law.sum()


def entropy_rate(transition: np.ndarray) -> float:
    """Entropy rate in bits a step: `-sum_i pi_i sum_j P_ij log2 P_ij` (Cover & Thomas 2006, eq.
    4.27)."""
    rows = np.array([_entropy(row) for row in transition])
    return float(stationary_law(transition) @ rows)


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def _gaussians(centres: np.ndarray, sd: float, n: int, seed: int) -> Source:
    rng = np.random.RandomState(seed)
    y = np.arange(n) % len(centres)
    points = centres[y] + sd * rng.randn(n, 2)
    return Source({"train": pd.DataFrame(points, columns=["x", "y"])}, {"train": y})
