"""The table of a study of text GANs, from its run folders and the law of the data.

python experiments/text_gan/figures.py runs/text_gan
"""

import sys
from collections import defaultdict

import numpy as np

from aigc.data.datasets import all_datasets
from aigc.runs import RunDir


def bigrams(texts: np.ndarray) -> np.ndarray:
    """Counts `(8, 8)` of letters that follow each other in `(N, T)` bytes; other bytes are left
    out."""
    pairs = np.stack([texts[:, :-1].ravel(), texts[:, 1:].ravel()]) - ord("a")
    pairs = pairs[:, ((pairs >= 0) & (pairs < 8)).all(0)]
    counts = np.zeros((8, 8))
    np.add.at(counts, tuple(pairs), 1)
    return counts


def conditional(counts: np.ndarray) -> np.ndarray:
    """`p(next | letter)`."""
    return counts / counts.sum(1, keepdims=True).clip(min=1)


def bits(counts: np.ndarray, law: np.ndarray) -> float:
    """Mean `-log2 law(next | letter)` over counted pairs; a pair that the law excludes costs 20."""
    cost = -np.log2(np.where(law > 0, law, 2.0**-20))
    return float((counts * cost).sum() / counts.sum())


def row(run: RunDir, law: np.ndarray) -> dict[str, float]:
    """Likelihood of test data, distances, and what the samples say of the law."""
    out = {
        f"{r['metric']} {(r['extractor'] or '').split('@')[0]}".strip(): r["value"]
        for r in run.rows()
        if r["metric"] in ("bits_per_byte", "fd", "recall") and r["value"] is not None
    }
    folder = next(p for p in (run / "samples").iterdir() if p.name.endswith("-n1000"))
    texts = np.load(folder / "ids.npz")["ids"].astype(int)
    counts = bigrams(texts)
    out["letters of the alphabet"] = float(((texts >= 97) & (texts < 105)).mean())
    out["bits of samples under the law"] = bits(counts, law)
    out["conditional entropy of samples"] = bits(counts, conditional(counts))
    return out


def main(folder: str) -> None:
    """Markdown: mean and standard deviation over seeds."""
    text = np.frombuffer(all_datasets()["markov"].load().parts["train"][0].encode(), np.uint8)
    law = conditional(bigrams(text[None].astype(int)))
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for run in RunDir.below(folder):
        model = run.config["model"]
        name = model.get("estimator", {}).get("_target_", "next-token prediction").split(".")[-1]
        found[name].append(row(run, law))
    names = list(found)
    print(f"entropy rate of the law: {bits(bigrams(text[None].astype(int)), law):.3f} bits")
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for key in found[names[0]][0]:
        cells = [[r[key] for r in found[name]] for name in names]
        shown = [f"{np.mean(c):.2f} ± {np.std(c, ddof=min(1, len(c) - 1)):.2f}" for c in cells]
        print(f"| {key} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
