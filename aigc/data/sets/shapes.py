"""Rendered shapes with known factors of variation, to judge what a latent space has untangled."""

from itertools import product

import numpy as np

from aigc.core.errors import BadInput, unknown
from aigc.data.datasets import Source, dataset

FACTORS = {"shape": 3, "scale": 4, "orientation": 8, "x": 8, "y": 8}
SHAPES = ["ellipse", "bar", "triangle"]
SUBPIXELS = 4  # along each axis: 17 greys


@dataset("image", kind="law", licence="generated")
def shapes(size: int = 16, n: int | None = None, label: str | None = None, seed: int = 0) -> Source:
    """6,144 white shapes on black, all combinations of shape (3), scale (4), orientation (8),
    x (8) and y (8); the factors are kept beside the pictures.

    After dSprites (Matthey et al. 2017), but no shape looks the same at two of the orientations,
    which span half a turn. `n` draws that many combinations without replacement, `label` names
    the factor to take as a label; without one, a model is told nothing.
    """
    if label is not None and label not in FACTORS:
        raise unknown("factor for dataset.label", label, FACTORS)
    grid = np.array(list(product(*map(range, FACTORS.values()))))
    if n is not None and not 1 <= n <= len(grid):
        raise BadInput(f"dataset.n={n}: 1 to {len(grid)}")
    order = np.random.RandomState(seed).permutation(len(grid))[:n]
    factors = grid[np.sort(order)]
    source = Source({"train": draw(factors, size)}, factors={"train": factors})
    source.factor_names = list(FACTORS)
    if label is not None:
        source.labels = {"train": factors[:, list(FACTORS).index(label)]}
        source.class_names = SHAPES if label == "shape" else []
    return source


def draw(factors: np.ndarray, size: int) -> np.ndarray:
    """Pictures `uint8 (N, 1, size, size)` of factors `(N, 5)`; a pixel is as bright as it is
    covered, by counting sub-pixels."""
    shape, scale, orientation, x, y = factors.T
    radius = np.linspace(0.18, 0.30, FACTORS["scale"])[scale]
    angle = np.pi * orientation / FACTORS["orientation"]
    place = np.linspace(0.31, 0.69, FACTORS["x"])
    middle = (np.arange(size * SUBPIXELS, dtype=np.float32) + 0.5) / (size * SUBPIXELS)
    out = np.empty((len(factors), 1, size, size), np.uint8)
    for rows in np.array_split(np.arange(len(factors)), -(-len(factors) // 512)):
        across = (middle - place[x[rows], None])[:, None, :] / radius[rows, None, None]
        down = (middle - place[y[rows], None])[:, :, None] / radius[rows, None, None]
        cos, sin = np.cos(angle[rows, None, None]), np.sin(angle[rows, None, None])
        u, v = cos * across + sin * down, cos * down - sin * across
        inside = np.choose(shape[rows, None, None], [_ellipse(u, v), _bar(u, v), _triangle(u, v)])
        cells = inside.reshape(len(rows), size, SUBPIXELS, size, SUBPIXELS)
        out[rows, 0] = np.round(255 * cells.mean((2, 4)))
    return out


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u**2 + (v / 0.55) ** 2 <= 1


def _bar(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (np.abs(u) <= 0.95) & (np.abs(v) <= 0.32)


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u >= -0.75) & (np.abs(v) <= 0.45 * (1 - u))
