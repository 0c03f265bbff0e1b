"""A paper's claims beside what was found: `claim | paper | ours | verdict`.

A claim is a number within a tolerance (`of`, `value`, `within`) or an order of what was found
(`ascending`: names of values, or numbers, from low to high). With several seeds an order holds when
each step of it is significant (Welch, one-sided, 5 %), and else at best "in the mean".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import mean
from typing import Any

from aigc.analysis.compare import interval
from aigc.analysis.significance import welch
from aigc.core.errors import BadInput, unknown

HOLDS, IN_THE_MEAN, FAILS = "holds", "holds in the mean", "does not hold"
Found = Mapping[str, float | Sequence[float]]


@dataclass(frozen=True)
class Verdict:
    """One claim, judged."""

    claim: str
    paper: str
    ours: str
    verdict: str
    source: str = ""
    exact: bool = False

    @property
    def holds(self) -> bool:
        """Whether it does, be it only in the mean."""
        return self.verdict != FAILS


def judge(claims: list[dict[str, Any]], found: Found) -> list[Verdict]:
    """A verdict a claim. Raises BadInput for a claim that is neither kind or names no value."""
    return [_judge(claim, found) for claim in claims]


def _judge(claim: dict[str, Any], found: Found) -> Verdict:
    fixed = claim["claim"], claim.get("paper", "")
    rest = claim.get("source", ""), claim.get("exact", False)
    if "of" in claim:
        ours = _values(claim["of"], found)
        verdict = HOLDS if abs(mean(ours) - claim["value"]) <= claim["within"] else FAILS
        paper = claim.get("paper", f"{claim['value']:g} ± {claim['within']:g}")
        return Verdict(fixed[0], paper, shown(ours), verdict, *rest)
    if "ascending" not in claim:
        raise BadInput(f"claim '{claim['claim']}': needs `of` with `value`, or `ascending`")
    terms = [_values(term, found) for term in claim["ascending"]]
    names = [str(term) for term in claim["ascending"]]
    texts = [n if _number(n) else f"{n} {shown(v)}" for n, v in zip(names, terms)]
    verdict = _order(terms)
    return Verdict(fixed[0], fixed[1] or " < ".join(names), "; ".join(texts), verdict, *rest)


def _order(terms: list[list[float]]) -> str:
    steps = list(pairwise(terms))
    if not all(mean(low) < mean(high) for low, high in steps):
        return FAILS
    return HOLDS if all(_sure(low, high) for low, high in steps) else IN_THE_MEAN


def _sure(low: list[float], high: list[float]) -> bool:
    """Whether a step up means something; one value each is taken as it is."""
    if len(low) == len(high) == 1:
        return True
    if 1 in (len(low), len(high)):  # a number on one side: outside of the other's interval
        many, one = (low, high[0]) if len(high) == 1 else (high, low[0])
        middle, half = interval(list(many), None)
        return abs(one - middle) > (half or 0)
    return welch(low, high) / 2 < 0.05


def _values(term: str | float, found: Found) -> list[float]:
    if not isinstance(term, str):
        return [float(term)]
    if term not in found:
        raise unknown("value in a claim", term, list(found))
    value = found[term]
    return [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def shown(values: Sequence[float]) -> str:
    """Four digits, with half of the 95 % t interval over seeds."""
    middle, half = interval(list(values), None)
    return f"{middle:.4g}" + (f" ± {half:.2g}" if half else "")


def markdown(verdicts: list[Verdict]) -> str:
    """The table."""
    lines = ["| claim | paper | ours | verdict |", "|---|---|---|---|"]
    for v in verdicts:
        source = f" ({v.source})" if v.source else ""
        lines.append(f"| {v.claim}{source} | {v.paper} | {v.ours} | {v.verdict} |")
    return "\n".join(lines) + "\n"


def rows(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(v) for v in verdicts]
