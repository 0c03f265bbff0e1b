"""Statistics of written text by itself: variety, repetition, and how words are distributed.

Words are what white space parts. A text's own numbers mean little alone: read them beside those of
real data.
"""

from collections import Counter
from collections.abc import Callable
from math import exp, log

import numpy as np

from aigc.metrics.registry import Evidence, Undefined, Value, metric

CAP = 1000  # texts that self-BLEU compares with each other
FACTS = {"needs": {"written"}, "modalities": frozenset({"text"}), "shown": False}

Words = list[str]


def grams(words: Words, n: int) -> list[tuple[str, ...]]:
    """The n-grams of a text in order."""
    return list(zip(*(words[i:] for i in range(n))))


def self_bleu(texts: list[Words], order: int = 4, epsilon: float = 0.1) -> float:
    """Mean BLEU of each text against all others (Zhu et al. 2018), with `epsilon` in the place of
    no match (Chen & Cherry 2014, method 1)."""
    tables = [Overlap([grams(words, n) for words in texts]) for n in range(1, order + 1)]
    lengths = np.array([len(words) for words in texts])
    scores = []
    for i, words in enumerate(texts):
        matched = [table.matches(i) for table in tables]
        if not matched[0]:
            scores.append(0.0)
            continue
        totals = [max(len(words) - n, 1) for n in range(order)]
        logs = [log(max(m, epsilon if m == 0 else m) / t) for m, t in zip(matched, totals)]
        others = np.delete(lengths, i)
        gap = np.abs(others - len(words))
        closest = others[gap == gap.min()].min()
        brevity = min(0.0, 1 - closest / len(words))
        scores.append(exp(brevity + sum(logs) / order))
    return float(np.mean(scores))


class Overlap:
    """For every text the n-grams that the others hold too, each as often as one of them does."""

    def __init__(self, texts: list[list[tuple[str, ...]]]):
        self.counts = [Counter(text) for text in texts]
        self.best: dict[tuple[str, ...], list[int]] = {}  # the two highest counts of a gram
        for counts in self.counts:
            for gram, count in counts.items():
                self.best[gram] = sorted([*self.best.get(gram, [0, 0]), count])[-2:]

    def matches(self, i: int) -> int:
        """Clipped matches of text `i` with the others."""
        total = 0
        for gram, count in self.counts[i].items():
            second, first = self.best[gram]
            total += min(count, second if first == count else first)
        return total


def distinct(texts: list[Words], n: int) -> float:
    """Different n-grams, over all of them (Li et al. 2016)."""
    found = [gram for words in texts for gram in grams(words, n)]
    return len(set(found)) / _count(found, n)


def entropy(texts: list[Words], n: int) -> float:
    """Entropy of the n-grams in bits."""
    counts = Counter(gram for words in texts for gram in grams(words, n))
    p = np.array(list(counts.values())) / _count(counts, n, counts.total())
    return float(-(p * np.log2(p)).sum())


def repetition(texts: list[Words], n: int = 4) -> list[float]:
    """For each text the share of n-grams that have stood in it before (Welleck et al. 2020,
    seq-rep-n); texts of fewer than `n` words are left out."""
    parts = [grams(words, n) for words in texts if len(words) >= n]
    return [1 - len(set(part)) / _count(part, n) for part in parts] or [_count([], n)]


def zipf(texts: list[Words], ranks: int = 5000) -> float:
    """Minus the slope of the log frequency of words over their log rank (Zipf 1949)."""
    counts = sorted(Counter(word for words in texts for word in words).values(), reverse=True)
    if len(counts) < 2:
        raise Undefined("fewer than two different words")
    rank = np.log(np.arange(1, len(counts[:ranks]) + 1))
    return float(-np.polyfit(rank, np.log(counts[:ranks]), 1)[0])


def _count(found: object, n: int, total: int | None = None) -> int:
    size = len(found) if total is None else total
    if not size:
        raise Undefined(f"no text of {n} words")
    return size


def _register(name: str, about: str, value: Callable[[list[Words]], float], **facts) -> None:
    """Register a statistic of texts; its standard deviation comes from halves of them."""

    def scored(evidence: Evidence) -> Value:
        texts = [text.split() for text in evidence.written]
        return Value(value(texts), _spread(value, texts) if facts["cost"] == "cheap" else None)

    scored.__doc__ = about
    metric(name, **{**FACTS, "axis": "diversity", **facts})(scored)


def _spread(value: Callable[[list[Words]], float], texts: list[Words]) -> float | None:
    """Standard deviation over ten random halves, None where one has no value."""
    orders = (np.random.RandomState(seed).permutation(len(texts)) for seed in range(10))
    try:
        halves = [value([texts[i] for i in order[: len(texts) // 2]]) for order in orders]
    except Undefined:
        return None
    return float(np.std(halves, ddof=1))


for _n in (2, 4):
    _register(
        f"self_bleu_{_n}",
        f"BLEU-{_n} of 1 of each text against the other texts, at most {CAP}: lower is more "
        "diverse.",
        lambda texts, n=_n: self_bleu(texts[:CAP], n),
        better="low",
        cost="slow",
    )
for _n in (1, 2):
    _register(
        f"distinct_{_n}",
        f"Different {_n}-grams of words over all of them; falls with length, so compare equal n.",
        lambda texts, n=_n: distinct(texts, n),
        better="high",
        cost="cheap",
    )
    _register(
        f"entropy_{_n}",
        f"Entropy of {_n}-grams of words in bits.",
        lambda texts, n=_n: entropy(texts, n),
        better="high",
        cost="cheap",
    )
_register(
    "repetition_4",
    "Share of 4-grams of words that have stood in the same text before.",
    lambda texts: float(np.mean(repetition(texts))),
    better="low",
    cost="cheap",
    stat="mean",
)
_register(
    "zipf",
    "Exponent of Zipf's law of the words; about 1 in natural language.",
    zipf,
    better="target",
    target=1.0,
    axis="fidelity",
    cost="cheap",
)
