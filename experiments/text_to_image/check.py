"""Does a sampled picture show what its caption says?

    python experiments/text_to_image/check.py runs/text_to_image

Draws 8 pictures of 8 captions of every run into `captions.png` beside this file, and judges 1,000
pictures of drawn captions: count by the quadrants that are not dark, colour by the channels, digit
by a support vector machine on real quadrants, whose accuracy is printed first.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from draw import draw
from sklearn.svm import SVC

import aigc
from aigc.analysis.load import Record
from aigc.core.caption import decode
from aigc.data.sets.captioned import COLOURS, COUNTS, DIGITS
from aigc.data.store import Store
from aigc.lab.run import Run
from aigc.runs import RunDir

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "limits.json").read_text())
CAPTIONS = [
    "one zero in red",
    "two ones in green",
    "three sevens in red",
    "four eights in yellow",
    "one five in blue",
    "two sixes in yellow",
    "three twos in blue",
    "four nines in green",
]


def main(paths: list[str]) -> int:
    """Judge every run below `paths`; 1 where a family falls below what is expected."""
    records = [Record(run) for path in paths for run in RunDir.below(path) if run.is_done]
    runs = [aigc.load(record.dir.path) for record in records]
    classifier = digit_classifier(runs[0].store)
    x, y = runs[0].store.ids("test"), runs[0].store.labels("test")
    print(f"real test pictures: {show(judge(x, y, classifier))}")
    failed = 0
    for record, run in zip(records, runs):
        for name, sampler in strategies(record, run).items():
            samples = run.sample(1000, seed=0, sampler=sampler)
            shares = judge(samples.ids.numpy(), samples.y.numpy(), classifier)
            print(f"{name}: {show(shares)}", flush=True)
            failed += shares["all"] < EXPECTED.get(name, 0)
    draw(
        {
            record.family: (run, [*strategies(record, run).values()][-1])
            for record, run in zip(records, runs)
        },
        CAPTIONS,
        str(HERE / "captions.png"),
    )
    return failed


def strategies(record: Record, run: Run) -> dict[str, Any]:
    """The run's own sampler, and with guidance where it has learned to do without captions."""
    out = {record.family: run.sampler()}
    if record.config["model"].get("label_dropout"):
        out[f"{record.family} guidance=2"] = run.sampler("ddim", guidance=2.0)
    return out


def judge(ids: np.ndarray, y: np.ndarray, classifier: SVC) -> dict[str, float]:
    """Shares of pictures with the right count, colour and digit, and all three."""
    right = {"count": [], "colour": [], "digit": []}
    for picture, caption in zip(ids.astype(float), decode(torch.from_numpy(np.array(y)))):
        count, digit, _, colour = caption.split()
        quadrants = cut(picture)
        lit = quadrants.max(axis=1) >= 8
        right["count"].append(lit.sum() == COUNTS.index(count) + 1)
        means = picture.mean(axis=(1, 2))
        shown = means > 0.4 * means.max()
        right["colour"].append(tuple(shown.astype(int)) == COLOURS[colour])
        names = {DIGITS[d] for d in classifier.predict(quadrants[lit])} if lit.any() else set()
        right["digit"].append(names == {singular(digit)})
    right["all"] = np.all(list(right.values()), axis=0)
    return {name: float(np.mean(values)) for name, values in right.items()}


def cut(picture: np.ndarray) -> np.ndarray:
    """The four quadrants of the brightest channel, `(4, 64)`."""
    return picture.max(0).reshape(2, 8, 2, 8).transpose(0, 2, 1, 3).reshape(4, 64)


def singular(word: str) -> str:
    """`sixes` to `six`."""
    return next(name for name in DIGITS if word in (name, f"{name}s", f"{name}es"))


def digit_classifier(store: Store) -> SVC:
    """Trained on the lit quadrants of training pictures."""
    pictures = store.ids("train")[:3000].astype(float)
    captions = decode(torch.from_numpy(store.labels("train")[:3000]))
    x, y = [], []
    for picture, caption in zip(pictures, captions):
        quadrants = cut(picture)
        lit = quadrants[quadrants.max(axis=1) >= 8]
        x.append(lit)
        y += [DIGITS.index(singular(caption.split()[1]))] * len(lit)
    return SVC(C=10, gamma=0.001).fit(np.concatenate(x), y)


def show(shares: dict[str, float]) -> str:
    """`count 0.99, colour 1.00, ...`."""
    return ", ".join(f"{name} {share:.3f}" for name, share in shares.items())


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:] or ["runs/text_to_image"])))
