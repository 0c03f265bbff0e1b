"""What a model does for each class, from samples drawn class by class: the tail of a long-tailed
set, and what a classifier gains from samples.

Features are those of the evidence; labels `gen_y`, `ref_y`, `train_y` go with its rows.
"""

from typing import Any

import torch
from torch import Tensor

from aigc.metrics.registry import Evidence, Undefined, metric
from aigc.metrics.structure import prdc

LABELLED = {"gen", "ref", "train", "gen_y", "ref_y", "train_y"}
PER_CLASS = ("fd", "precision", "recall", "coverage")  # computed for each class too


def rarest(y: Tensor, classes: int) -> list[int]:
    """The third of the classes with the fewest examples among `y`, at least one."""
    counts = torch.bincount(y, minlength=classes)
    return counts.argsort(stable=True)[: max(1, classes // 3)].tolist()


def of_class(evidence: Evidence, k: int) -> Evidence:
    """The evidence of one class: generated as asked, and real."""
    gen, ref = (
        x[y == k] for x, y in ((evidence.gen, evidence.gen_y), (evidence.ref, evidence.ref_y))
    )
    return Evidence(evidence.modality, gen, ref, evidence.train, dims=evidence.dims)


def _of_tail(name: str, about: str) -> None:
    def value(evidence: Evidence) -> float:
        return evidence.once("tail", lambda: _tail(evidence))[name]

    value.__doc__ = about
    metric(f"tail_{name}", needs=LABELLED, better="high", axis="diversity", by_class=True)(value)


def _tail(evidence: Evidence) -> dict[str, float]:
    tail = rarest(evidence.train_y, int(evidence.ref_y.max()) + 1)
    parts = [of_class(evidence, k) for k in tail]
    if min(len(part.ref) for part in parts) < 2:
        raise Undefined("a class of the tail has fewer than two real examples")
    found = [prdc(part.ref, part.gen) for part in parts]
    return {name: sum(f[name] for f in found) / len(found) for name in found[0]}


_of_tail("recall", "Mean recall over the rarest third of the classes, each against its own.")
_of_tail("coverage", "Mean coverage over the rarest third of the classes, each against its own.")


def accuracy(X: Tensor, y: Tensor, evidence: Evidence) -> tuple[float, float]:
    """Accuracy on the reference examples of a logistic classifier of `(X, y)`, and its binomial
    standard deviation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(y.unique()) < 2:
        raise Undefined("one class alone tells nothing apart")
    ref = _features(evidence)[1]
    classifier: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(X.cpu().numpy(), y.cpu().numpy())
    value = float(classifier.score(ref.cpu().numpy(), evidence.ref_y.cpu().numpy()))
    return value, (value * (1 - value) / len(ref)) ** 0.5


def _features(evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
    """Of generated, reference and training examples, without the label where a table repeats it."""
    return evidence.blind or (evidence.gen, evidence.ref, evidence.train)


def _on_real(evidence: Evidence) -> tuple[float, float]:
    train = _features(evidence)[2]
    return evidence.once("on_real", lambda: accuracy(train, evidence.train_y, evidence))


ACCURACY = {"needs": LABELLED, "better": "high", "axis": "fidelity", "by_class": True, "version": 2}


@metric("accuracy_synthetic", **ACCURACY)
def accuracy_synthetic(evidence: Evidence) -> tuple[float, float]:
    """Accuracy on real test data of a logistic classifier trained on samples alone; of a table it
    reads no column that is the label again."""
    return accuracy(_features(evidence)[0], evidence.gen_y, evidence)


@metric("accuracy_real", **ACCURACY)
def accuracy_real(evidence: Evidence) -> tuple[float, float]:
    """The same trained on the real training data: what samples have to beat."""
    return _on_real(evidence)


@metric("accuracy_gain", **ACCURACY)
def accuracy_gain(evidence: Evidence) -> float:
    """What samples added to the real training data change in that accuracy."""
    gen, _, train = _features(evidence)
    X, y = torch.cat([train, gen]), torch.cat([evidence.train_y, evidence.gen_y])
    return accuracy(X, y, evidence)[0] - _on_real(evidence)[0]
