"""Figures of what lies inside a run, from arrays alone; `figures.style` gives them their ink."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from aigc.analysis.figures import COLOURS

BLUE, ORANGE, GREEN = (COLOURS[name] for name in ("autoregressive", "diffusion", "vae"))
GREY = "#888888"
CYCLE = [GREEN, ORANGE, BLUE, "#CC79A7", "#E69F00", "#56B4E9"]


def sheet(pictures: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Any:
    """Pictures `uint8 (R, C, H, W, 1 or 3)` in named rows and columns."""
    r, c, height, width, depth = pictures.shape
    gap = 1
    canvas = np.full((r * (height + gap), c * (width + gap), depth), 127, np.uint8)
    alpha = np.zeros(canvas.shape[:2], np.uint8)
    for i in range(r):
        for j in range(c):
            top, left = i * (height + gap), j * (width + gap)
            canvas[top : top + height, left : left + width] = pictures[i, j]
            alpha[top : top + height, left : left + width] = 255
    canvas = np.concatenate([np.repeat(canvas, 3 // depth, axis=2), alpha[..., None]], axis=2)
    side = min(6.0 / canvas.shape[1], 8.0 / canvas.shape[0])  # inches a pixel
    size = side * canvas.shape[1] + 1.6, side * canvas.shape[0] + 0.6
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.imshow(canvas, interpolation="nearest")
    axis.set_xticks([j * (width + gap) + width / 2 for j in range(c)], columns)
    axis.set_yticks([i * (height + gap) + height / 2 for i in range(r)], rows)
    _bare(axis)
    return figure


def profiles(
    x: np.ndarray, rows: Sequence[str], columns: Sequence[str], names: Sequence[str], most: int = 5
) -> Any:
    """Ordered columns of a table, `x (R, C, K)` in [0, 1], along each row's walk; the `most` that
    move most in any row have a colour."""
    across = max(1, min(3, len(rows)))
    down = -(-len(rows) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(2.7 * across, 1.9 * down + 0.4), squeeze=False, sharex=True,
        sharey=True, layout="constrained",
    )  # fmt: skip
    chosen = np.ptp(x, axis=1).max(0).argsort()[::-1][:most]
    places = range(len(columns))
    for row, axis in enumerate(axes.flat):
        if row >= len(rows):
            axis.axis("off")
            continue
        axis.plot(places, x[row], color=GREY, lw=0.6, alpha=0.35)
        for colour, k in zip(CYCLE, chosen):
            axis.plot(places, x[row, :, k], color=colour, lw=1.6, label=str(names[k]))
        axis.set_title(rows[row])
        axis.set_xticks(list(places)[:: len(columns) // 2], columns[:: len(columns) // 2])
        axis.set_ylim(-0.05, 1.05)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def units(height: np.ndarray, active: np.ndarray, dims: Sequence[int], kind: str) -> Any:
    """What each latent says; those that are not active are grey."""
    width = min(7.5, max(4.0, 0.28 * len(height) + 1.2))
    figure, axis = plt.subplots(figsize=(width, 2.4), layout="constrained")
    axis.bar(range(len(dims)), height, color=[GREEN if a else GREY for a in active])
    axis.set_xticks(range(len(dims)), [f"z{d}" for d in dims], rotation=90 * (len(dims) > 16))
    axis.set(ylabel=kind, title=f"{kind.split()[0]} by dimension; grey: not active")
    axis.margins(x=0.01)
    return figure


def bars(values: np.ndarray, names: Sequence[str], label: str) -> Any:
    """One bar a name, the highest last."""
    order = np.argsort(values)
    figure, axis = plt.subplots(figsize=(5.5, 0.22 * len(values) + 0.8), layout="constrained")
    axis.barh(range(len(values)), values[order], color=BLUE)
    axis.set_yticks(range(len(values)), [names[i] for i in order])
    axis.set_xlabel(label)
    axis.margins(y=0.01)
    return figure


def heat(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], label: str) -> Any:
    """A matrix in [0, 1] with its numbers."""
    figure, axis = plt.subplots(
        figsize=(1.0 * len(columns) + 1.6, 0.3 * len(rows) + 1.1), layout="constrained"
    )
    image = axis.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    for i, j in np.ndindex(values.shape):
        ink = "black" if values[i, j] > 0.6 else "white"
        axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    figure.colorbar(image, ax=axis, shrink=0.8)
    axis.set_title(label)
    _bare(axis)
    return figure


def probe_lines(
    scores: dict[str, dict[str, float]], base: dict[str, float], most: dict[str, float]
) -> Any:
    """Accuracy of each target by layer, one panel a target, between its two baselines."""
    layers, targets = list(scores), list(base)
    wide = 1.1 + 0.45 * max(len(layers), 2)
    figure, axes = plt.subplots(
        1, len(targets), figsize=(max(wide * len(targets) + 0.6, 6.0), 2.9), layout="constrained",
        sharey=True, squeeze=False,
    )  # fmt: skip
    places = range(len(layers))
    for axis, target in zip(axes[0], targets):
        y = [scores[layer][target] for layer in layers]
        axis.plot(places, y, marker="o", ms=5, color=GREEN, label="the network's features")
        axis.axhline(base[target], color=ORANGE, ls="--", lw=1.2, label="the data themselves")
        axis.axhline(most[target], color=GREY, ls=":", lw=1.2, label="the most frequent value")
        axis.set_xticks(places, layers, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_xlim(-0.6, len(layers) - 0.4)
        axis.set_title(target)
        axis.set_ylim(0, 1.03)
    axes[0][0].set_ylabel("accuracy")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def by_position(bits: np.ndarray) -> Any:
    """Mean bits at each position."""
    figure, axis = plt.subplots(figsize=(6.0, 2.2), layout="constrained")
    axis.plot(bits, color=BLUE, lw=1.2)
    axis.set(xlabel="position", ylabel="bits", title="mean surprisal by position")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    return figure


def surprisal_maps(pictures: np.ndarray, bits: np.ndarray) -> Any:
    """Pictures `(N, H, W, 1 or 3)` above the bits of their pixels `(N, H, W)`."""
    figure, axes = plt.subplots(
        2, len(bits), figsize=(1.15 * len(bits) + 0.8, 2.6), layout="constrained", squeeze=False
    )
    for picture, bit, (above, below) in zip(pictures, bits, axes.T):
        above.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        image = below.imshow(bit, cmap="magma", vmin=0, vmax=bits.max(), interpolation="nearest")
        for axis in (above, below):
            axis.axis("off")
        below.set_title(f"{bit.sum():.0f} bits", fontsize=8, fontweight="normal")
    figure.colorbar(image, ax=axes[1], shrink=0.9, label="bits")
    return figure


def waves(wave: np.ndarray, bits: np.ndarray) -> Any:
    """Waveforms `(N, T)`, each above the bits of its samples."""
    figure, axes = plt.subplots(
        len(wave), 1, figsize=(7.5, 1.5 * len(wave)), layout="constrained", squeeze=False
    )
    for (axis,), w, b in zip(axes, wave, bits):
        axis.plot(w, color=GREY, lw=0.6)
        axis.set(ylabel="wave", ylim=(-1.05, 1.05))
        other = axis.twinx()
        width = max(1, len(b) // 128)
        mean = b[: len(b) // width * width].reshape(-1, width).mean(1)
        other.plot((np.arange(len(mean)) + 0.5) * width, mean, color=ORANGE, lw=1)
        other.set(ylabel="bits", ylim=(0, None))
        other.spines["right"].set_visible(True)
        axis.margins(x=0)
    return figure


def maps(matrices: Sequence[np.ndarray], titles: Sequence[str]) -> Any:
    """Square maps side by side, each on a scale of its own."""
    across = min(4, len(matrices))
    down = -(-len(matrices) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(2.3 * across, 2.5 * down), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, matrix, title in zip(axes.flat, matrices, titles):
        axis.imshow(matrix**0.5, cmap="viridis", interpolation="nearest")  # small weights show
        axis.set_title(title, fontsize=8)
    return figure


def rate_distortion(points: dict[str, list[tuple[float, float]]], dims: int) -> Any:
    """Runs by group in the plane of rate and distortion, joined in order of their mean rate;
    lines of one ELBO are grey."""
    figure, axis = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    means = {name: np.mean(group, axis=0) for name, group in points.items()}
    path = np.array(sorted(map(tuple, means.values())))
    axis.plot(*path.T, color=GREY, lw=1, zorder=1)
    for colour, (name, group) in zip(CYCLE * len(points), points.items()):
        axis.scatter(*np.array(group).T, color=colour, s=22, label=name, zorder=2)
    low, high = axis.get_xlim(), axis.get_ylim()
    x = np.linspace(*low, 2)
    for total in np.quantile(path.sum(1), [0, 0.5, 1]):
        axis.plot(x, total - x, color=GREY, lw=0.7, ls=":", zorder=0)
    axis.set(
        xlim=low, ylim=high, xlabel="rate: KL(q(z|x) || p(z)), nats",
        ylabel="distortion: -log p(x|z), nats",
    )  # fmt: skip
    axis.set_title(f"rate and distortion; dotted: one ELBO ({dims} dimensions)")
    axis.legend(fontsize=8)
    return figure


def _bare(axis: Any) -> None:
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
