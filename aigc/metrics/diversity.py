"""How much there is: effective numbers of different examples, and classes that are reached."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from aigc.metrics.registry import FEATURES, Evidence, Undefined, Value, metric


def vendi(X: Tensor) -> float:
    """Vendi score of rows under cosine similarity (Friedman & Dieng 2023, definition 3.1): the
    exponential of the entropy of the eigenvalues of `X X' / n`, from the smaller Gram matrix."""
    Z = normalize(X, dim=1) / len(X) ** 0.5
    p = torch.linalg.eigvalsh(Z.T @ Z if len(Z) > Z.shape[1] else Z @ Z.T).clamp(min=0)
    return float(torch.special.entr(p).sum().exp())


@metric("vendi", needs=FEATURES, better="target", target=1.0, axis="diversity", spread=True)
def vendi_ratio(evidence: Evidence) -> float:
    """Effective number of different generated examples (Vendi score), over that of as many real
    ones."""
    n = min(len(evidence.gen), len(evidence.ref))
    return vendi(evidence.gen[:n]) / vendi(evidence.ref[:n])


CLASSES = {"needs": {"probs", "ref_probs"}, "axis": "diversity", "cost": "model", "shown": False}


def frequencies(probs: Tensor) -> Tensor:
    """How often each class is the most probable, `(C,)`."""
    return torch.bincount(probs.argmax(1), minlength=probs.shape[1]).double() / len(probs)


@metric("modes", **CLASSES, better="high")
def modes(evidence: Evidence) -> Value:
    """Classes or modes of the data that the samples reach, by a classifier, of all in the
    reference data."""
    there = frequencies(evidence.ref_probs) > 0
    return Value(float((frequencies(evidence.probs)[there] > 0).sum()))


@metric("modes_kl", **CLASSES, better="low")
def modes_kl(evidence: Evidence) -> Value:
    """KL divergence in nats of the classes of the samples from those of the reference data."""
    p, q = frequencies(evidence.probs), frequencies(evidence.ref_probs)
    if (q[p > 0] == 0).any():
        raise Undefined("samples of a class that the reference examples do not hold")
    value = float((torch.xlogy(p, p) - torch.xlogy(p, q)).sum())
    n, m, k = len(evidence.probs), len(evidence.ref_probs), int((q > 0).sum())
    return Value(value, (max(k - 1, 0) / 2) ** 0.5 * (1 / n + 1 / m))  # chi-squared under p = q


def inception_score(probs: Tensor) -> float:
    """`exp(mean KL(p(y | x) | p(y)))` (Salimans et al. 2016, section 4)."""
    marginal = probs.mean(0)
    kl = torch.xlogy(probs, probs).sum(1) - torch.xlogy(probs, marginal).sum(1)
    return float(kl.mean().exp())


@metric("inception_score", **{**CLASSES, "needs": {"probs"}, "axis": "fidelity"}, better="high")
def inception(evidence: Evidence) -> Value:
    """Inception score on the data set's own classifier (say so); blind to what is missing inside
    a class."""
    probs = evidence.probs.double()
    generator = torch.Generator().manual_seed(0)
    halves = [
        inception_score(probs[torch.randperm(len(probs), generator=generator)[: len(probs) // 2]])
        for _ in range(20)
    ]
    return Value(inception_score(probs), float(torch.tensor(halves, dtype=torch.float64).std()))
