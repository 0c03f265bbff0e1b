"""Overlap of written text with reference text."""

from collections.abc import Callable
from typing import Any

import torch

from aigc.metrics.registry import Evidence, metric

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
