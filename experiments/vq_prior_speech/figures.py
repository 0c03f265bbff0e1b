"""Which digits a classifier hears in a two-stage run on speech, and a picture of them.

python experiments/vq_prior_speech/figures.py RUN OUT.png
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

import aigc
from aigc.lab.run import Run


def features(run: Run, ids: Tensor) -> np.ndarray:
    """Log spectrogram, averaged to 20 bands at 16 times: `(n, 320)`."""
    spectra = torch.cat([run.codec.field(part) for part in ids.split(200)])
    return adaptive_avg_pool2d(spectra[:, None], (20, 16)).flatten(1).numpy()


def accuracies(run: Run, real: tuple[Tensor, Tensor], rebuilt: Tensor, n: int = 300) -> None:
    """Print how often a classifier trained on real recordings is right."""
    parts = [run.store.examples(split, 10_000) for split in ("train", "validation")]
    x = np.concatenate([features(run, ids) for ids, _ in parts])
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    judge.fit(x, np.concatenate([y for _, y in parts]))
    samples = run.sample(n, seed=0, y=torch.arange(n) % 10)
    sets = {"real": real, "first stage": (rebuilt, real[1]), "samples": (samples.ids, samples.y)}
    for name, (ids, y) in sets.items():
        print(f"{name}: {judge.score(features(run, ids), y):.3f} of {len(ids)}")
    wave, other = run.codec.waves(real[0]), run.codec.waves(rebuilt)
    ratio = 10 * (wave.square().sum() / (wave - other).square().sum()).log10()
    print(f"first stage: signal to noise {ratio:.1f} dB")


def picture(run: Run, sets: dict[str, Tensor], path: str) -> None:
    """A column a digit: waveforms above their spectrograms."""
    fig, axes = plt.subplots(2 * len(sets), 10, figsize=(13, 2.1 * len(sets)), layout="constrained")
    for row, (name, ids) in enumerate(sets.items()):
        spectra, waves = run.codec.field(ids), run.codec.waves(ids)
        for digit in range(10):
            above, below = axes[2 * row, digit], axes[2 * row + 1, digit]
            above.plot(waves[digit], linewidth=0.3)
            above.set(ylim=(-1, 1), title=str(digit) if row == 0 else "")
            below.imshow(spectra[digit], origin="lower", aspect="auto", cmap="magma")
            for axis in (above, below):
                axis.set(xticks=[], yticks=[])
        axes[2 * row, 0].set_ylabel(name)
    fig.savefig(path, dpi=80)


if __name__ == "__main__":
    opened = aigc.load(sys.argv[1])
    ids, y = opened.store.examples("test", 300)
    view = opened.model.view
    rebuilt = torch.cat([view.decode(view.encode(part)) for part in ids.split(100)])
    accuracies(opened, (ids, y), rebuilt)
    first = torch.tensor([int((y == digit).nonzero()[0]) for digit in range(10)])
    drawn = opened.sample(10, seed=0, y=torch.arange(10)).ids
    sets = {"real": ids[first], "first stage": rebuilt[first], "samples": drawn}
    picture(opened, sets, sys.argv[2])
