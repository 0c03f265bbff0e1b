"""Data sets that come with the dependencies: no network, no files."""

import numpy as np

from aigc.data.datasets import Source, dataset

PITCHES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


@dataset("image", kind="embedded", licence="CC BY 4.0 (UCI)", classes=10)
def digits() -> Source:
    """1,797 handwritten digits, 8 x 8, 17 greys (Alpaydin & Kaynak 1998, by scikit-learn)."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    pictures = np.round(x * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Source({"train": pictures}, {"train": y}, [str(i) for i in range(10)])


@dataset("text", kind="embedded", licence="PSF-2.0")
def pydoc() -> Source:
    """The Python language reference: 0.4 M characters of English from the standard library's
    pydoc_data."""
    from pydoc_data.topics import topics

    return Source({"train": ["\n".join(topics[name] for name in sorted(topics))]})


@dataset("audio", kind="embedded", licence="generated", classes=12)
def notes(n: int = 1500, seed: int = 0, rate: int = 4000, seconds: float = 0.256) -> Source:
    """Synthesised notes struck at time zero: three timbres, two octaves, decay; label = pitch
    class."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 12
    octave, timbre = rng.randint(0, 2, n), rng.randint(0, 3, n)
    # Relative strengths of five harmonics: a flute, a clarinet (odd ones), a string.
    harmonics = np.array([[1, 0.2, 0.05, 0, 0], [1, 0, 0.5, 0, 0.25], [1, 0.6, 0.4, 0.25, 0.15]])
    t = np.arange(round(rate * seconds)) / rate
    frequency = 261.63 * 2.0 ** (octave - 1 + y / 12) * 2.0 ** (rng.randn(n) * 0.02 / 12)
    decay = rng.uniform(2, 10, n)
    waves = np.zeros((n, len(t)))
    for k in range(5):
        angle = 2 * np.pi * (k + 1) * frequency[:, None] * t
        waves += harmonics[timbre, k][:, None] * np.sin(angle)
    attack = np.minimum(1, t / 0.01)
    waves *= attack * np.exp(-decay[:, None] * t) * 0.4
    return Source({"train": [(wave, rate) for wave in waves]}, {"train": y}, PITCHES)


@dataset("tabular", kind="embedded", licence="CC BY 4.0 (UCI)", classes=3)
def wine() -> Source:
    """178 wines, 13 chemical measurements; label = cultivar (Forina et al. 1991, by
    scikit-learn)."""
    return _sklearn_table("load_wine", "cultivar")


@dataset("tabular", kind="embedded", licence="CC BY 4.0 (UCI)", classes=2)
def breast_cancer() -> Source:
    """569 tumours, 30 measurements; label = malignant or benign (Street et al. 1993, by
    scikit-learn)."""
    return _sklearn_table("load_breast_cancer", "diagnosis")


@dataset("tabular", kind="embedded", licence="public (Efron et al. 2004)")
def diabetes() -> Source:
    """442 patients, ten measurements and the progression a year later (by scikit-learn)."""
    from sklearn.datasets import load_diabetes

    return Source({"train": load_diabetes(as_frame=True, scaled=False).frame})


def _sklearn_table(loader: str, target: str) -> Source:
    from sklearn import datasets

    bunch = getattr(datasets, loader)(as_frame=True)
    names = [str(name) for name in bunch.target_names]
    frame = bunch.data.copy()
    frame[target] = np.array(names, dtype=object)[bunch.target]
    return Source({"train": frame}, {"train": bunch.target.to_numpy()}, names)
