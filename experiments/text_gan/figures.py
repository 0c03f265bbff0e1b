"""Text GANs beside next-token prediction on text of known law."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars
from aigc.data.datasets import all_datasets

KINDS = {
    "bits": "bits a byte of test text",
    "FD": "Frechet distance (randconv)",
    "cost of samples": "bits of samples under the law",
    "letters": "share of letters of the alphabet",
}


def bigrams(texts: np.ndarray) -> np.ndarray:
    """Counts `(8, 8)` of letters that follow each other in `(N, T)` bytes; others are left out."""
    pairs = np.stack([texts[:, :-1].ravel(), texts[:, 1:].ravel()]) - ord("a")
    pairs = pairs[:, ((pairs >= 0) & (pairs < 8)).all(0)]
    counts = np.zeros((8, 8))
    np.add.at(counts, tuple(pairs), 1)
    return counts


def cost(counts: np.ndarray, law: np.ndarray) -> float:
    """Mean `-log2 law(next | letter)` over counted pairs; a pair that the law excludes costs 20."""
    bits = -np.log2(np.where(law > 0, law, 2.0**-20))
    return float((counts * bits).sum() / max(counts.sum(), 1))


def measure(study: Any) -> dict[str, list[float]]:
    """`<kind>, <model>`: a value a seed."""
    text = all_datasets()["markov"].load().parts["train"][0].encode()
    law = bigrams(np.frombuffer(text, np.uint8)[None].astype(int))
    law /= law.sum(1, keepdims=True)
    found: dict[str, list[float]] = {f"{k}, {n}": [] for k in KINDS for n in study.runs}
    for name, records in study.runs.items():
        for record in records:
            texts = np.load(record.folder("evaluated") / "ids.npz")["ids"].astype(int)
            values = record.value("bits_per_byte"), record.value("fd", "randconv")
            values += cost(bigrams(texts), law), float(((texts >= 97) & (texts < 105)).mean())
            for kind, value in zip(KINDS, values):
                found[f"{kind}, {name}"].append(value)
    return found


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """A panel a kind."""
    fig, axes = plt.subplots(1, 4, figsize=(11.5, 1.9), layout="constrained", sharey=True)
    shades = [colour("autoregressive"), colour("gan"), colour("gan")]
    for ax, (kind, title) in zip(axes, KINDS.items()):
        bars(ax, {name: found[f"{kind}, {name}"] for name in study.runs}, shades)
        ax.set_title(title)
    return fig
