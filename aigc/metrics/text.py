"""Overlap of what a model writes after the beginning of reference texts with what stands there."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from aigc.metrics.registry import Evidence, Value, metric

NEEDS = {"continued"}


def bleu(order: int) -> Any:
    """sacrebleu's corpus BLEU up to n-grams of `order` (Papineni et al. 2002; Post 2018)."""
    from sacrebleu.metrics import BLEU

    return BLEU(max_ngram_order=order)


def _register(order: int) -> None:
    def value(evidence: Evidence) -> tuple[float, float | None]:
        found, wanted = evidence.continued
        scorer = bleu(order)
        halves = [_score(scorer, found, wanted, half) for half in _halves(len(found))]
        sd = float(torch.tensor(halves).std()) if halves else None
        return scorer.corpus_score(found, [wanted]).score, sd

    value.__doc__ = (
        f"BLEU-{order} of 100 of what the model writes after the beginning of reference texts."
    )
    facts = {"better": "high", "axis": "fidelity", "modalities": frozenset({"text"})}
    metric(f"bleu_{order}", needs=NEEDS, signature=_signature(order), **facts)(value)


def _signature(order: int) -> Callable[[Evidence], str]:
    """sacrebleu's own signature."""

    def signature(evidence: Evidence) -> str:
        scorer, (found, wanted) = bleu(order), evidence.continued
        scorer.corpus_score(found, [wanted])  # only then it knows how many references there are
        return f"sacrebleu|{scorer.get_signature()}"

    return signature


def _halves(n: int, draws: int = 20) -> list[list[int]]:
    """Random halves of the texts; none where there are too few."""
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(n, generator=generator).tolist() for _ in range(draws)]
    return [order[: n // 2] for order in orders] if n >= 4 else []


def _score(scorer: Any, found: list[str], wanted: list[str], rows: list[int]) -> float:
    return scorer.corpus_score([found[i] for i in rows], [[wanted[i] for i in rows]]).score


for _order in (1, 2, 3, 4):
    _register(_order)


CHRF = {"needs": NEEDS, "modalities": frozenset({"text"}), "axis": "fidelity", "shown": False}


@metric("chrf", **CHRF, better="high")
def chrf(evidence: Evidence) -> Value:
    """F-score of 100 of character n-grams up to 6 (Popovic 2015), sacrebleu's."""
    from sacrebleu.metrics import CHRF as Scorer

    found, wanted = evidence.continued
    halves = [_score(Scorer(), found, wanted, half) for half in _halves(len(found))]
    sd = float(torch.tensor(halves).std()) if halves else None
    return Value(Scorer().corpus_score(found, [wanted]).score, sd)


def rouge(found: str, wanted: str, n: int | None) -> float:
    """F1 of the n-grams of two texts, or for `n` None of their longest common subsequence (Lin
    2004); words are runs of letters and digits in lower case."""
    a, b = (re.findall(r"[a-z0-9]+", text.lower()) for text in (found, wanted))
    if n is None:
        common = _subsequence(a, b)
    else:
        a, b = (list(zip(*(words[i:] for i in range(n)))) for words in (a, b))
        common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b)) if common else 0.0


def _subsequence(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(row[j], row[j - 1])
            diagonal = above
    return row[-1]


def _register_rouge(name: str, n: int | None) -> None:
    def value(evidence: Evidence) -> Value:
        scores = [rouge(found, wanted, n) for found, wanted in zip(*evidence.continued)]
        scores = torch.tensor(scores, dtype=torch.float64)
        error = float(scores.std() / len(scores) ** 0.5) if len(scores) > 1 else None
        return Value(float(scores.mean()), error)

    what = "the longest common subsequence" if n is None else f"common {n}-grams"
    value.__doc__ = f"F1 of {what} of words with what stands in reference texts, a mean."
    metric(name, **CHRF, better="high", stat="mean")(value)


for _name, _n in (("rouge_1", 1), ("rouge_2", 2), ("rouge_l", None)):
    _register_rouge(_name, _n)
