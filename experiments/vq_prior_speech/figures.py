"""Which digit a classifier of real recordings hears: in recordings it has not seen, in what the
first stage makes of them, and in samples of the transformer."""

from typing import Any

import matplotlib.pyplot as plt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

import aigc

SHOWN: dict[str, Tensor] = {}


def features(codec: Any, ids: Tensor) -> Any:
    """Log spectrograms at 20 x 16."""
    spectra = torch.cat([codec.field(part) for part in ids.split(200)])
    return F.adaptive_avg_pool2d(spectra[:, None], (20, 16)).flatten(1).numpy()


def listener(run: Any) -> Any:
    """A logistic regression on the recordings that were not held out for the test."""
    parts = [run.store.examples(split, 10**6) for split in ("train", "validation")]
    ids, y = (torch.cat(both) for both in zip(*parts))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    return model.fit(features(run.codec, ids), y.numpy())


@torch.no_grad()
def measure(study: Any) -> dict[str, float]:
    """Shares of recordings in which the right digit is heard."""
    first, second = (aigc.load(study.runs[n][0].dir.path) for n in ("first", "second"))
    (ids, y), view = first.store.examples("test", 300), first.model.view
    codes = [first.model.encode(view.encode(part.to(first.device))) for part in ids.split(50)]
    rebuilt = torch.cat([view.decode(first.model.decode(part)).cpu() for part in codes])
    drawn = second.sample(len(ids), 0, y)
    heard, hear = {}, listener(first)
    for name, sounds in {"real": ids, "reconstructed": rebuilt, "sampled": drawn.ids}.items():
        heard[f"heard, {name}"] = float(hear.score(features(first.codec, sounds), y.numpy()))
        SHOWN[name] = torch.stack([sounds[y == k][0] for k in y.unique()])
    (study.results / "samples").mkdir(exist_ok=True)
    drawn.codec.render(SHOWN["sampled"], study.results / "samples")
    return heard


def draw(study: Any, found: dict[str, float]) -> plt.Figure:
    """Spectrograms of one recording, reconstruction and sample of each digit."""
    codec = aigc.load(study.runs["first"][0].dir.path).codec
    count = len(SHOWN["real"])
    grid = {"figsize": (1.1 * count + 1, 4.2), "layout": "constrained"}
    fig, axes = plt.subplots(3, count, squeeze=False, **grid)
    for row, (name, sounds) in zip(axes, SHOWN.items()):
        for k, (ax, picture) in enumerate(zip(row, codec.pictures(sounds))):
            ax.imshow(picture, aspect="auto")
            ax.set(xticks=[], yticks=[], title=str(k) if name == "real" else "")
        row[0].set_ylabel(f"{name}\n{found[f'heard, {name}']:.0%} heard")
    return fig
