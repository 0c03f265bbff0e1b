"""Runs the registry over the evidence: one row a metric and extractor, skipped ones with their
reason."""

import math
import time
from collections.abc import Iterable
from typing import Any

from aigc.metrics import (  # noqa: F401  (they register)
    classes,
    cost,
    distance,
    diversity,
    kernel,
    language,
    likelihood,
    mauve,
    memorisation,
    pairs,
    structure,
    tables,
    text,
    twosample,
)
from aigc.metrics.registry import (
    METRICS,  # noqa: F401  (complete only from here)
    Evidence,
    Metric,
    Undefined,
    Value,
    chosen,
    spread_over_halves,
)

Row = dict[str, Any]


def judge(
    evidence: dict[str, Evidence],
    reference: str,
    kind: str = "none",
    given: str = "",
    names: str | Iterable[str] | None = None,
) -> list[Row]:
    """Rows of the metrics that `names` mean (see `chosen`) over `evidence`, one entry an extractor
    `id@sha`.

    `reference` names data set, split and content hash; `kind` is that of the likelihood, `given`
    what it is conditioned on. Raises BadInput for an unknown name.
    """
    rows = []
    for metric in chosen(names, next(iter(evidence.values())).modality):
        per_extractor = metric.needs & {"gen", "ref", "train"}
        items = list(evidence.items()) if per_extractor else [(None, next(iter(evidence.values())))]
        for extractor, one in items:
            row = _row(metric, one, extractor)
            if metric.axis == "likelihood":
                row["kind"] = kind
            row["protocol"] = _protocol(metric, row, reference, given)
            if metric.signature and row["status"] == "ok":
                row["protocol"] += f" {metric.signature(one)}"
            rows.append(row)
    return rows


def _row(metric: Metric, evidence: Evidence, extractor: str | None) -> Row:
    row: Row = {"metric": metric.name, "value": None, "sd": None, "n": None, "n_ref": None}
    row |= {"extractor": extractor, "kind": None, "status": "ok", "reason": None}
    row |= {"better": metric.better, "target": metric.target, "axis": metric.axis}
    row |= {"p": None, "shown": metric.shown, "stat": metric.stat}
    row["extractor"] = extractor or next(
        (v for k, v in evidence.by.items() if k in metric.needs), None
    )
    row |= _counts(metric, evidence)
    start = time.perf_counter()
    if reason := _obstacle(metric, evidence):
        row |= {"status": "skipped", "reason": reason}
    else:
        try:
            row |= _value(metric, evidence)._asdict()
        except Undefined as error:
            row |= {"status": "undefined", "reason": str(error)}
    row["seconds"] = round(time.perf_counter() - start, 3)
    return row


def _counts(metric: Metric, evidence: Evidence) -> Row:
    """How many generated and reference examples a metric looks at."""
    counts = {}
    for need, n, n_ref in (
        ("gen", evidence.gen, evidence.ref),
        ("nats", None, evidence.nats),
        ("continued", *(evidence.continued or (None, None))),
        ("pairs", *(evidence.pairs or (None, None))[:2]),
        ("rows", *(evidence.rows or (None, None))[:2]),
        ("written", evidence.written, None),
        ("judged", evidence.judged and range(evidence.judged.texts), None),
        ("probs", evidence.probs, evidence.ref_probs),
        ("perceived", evidence.perceived, evidence.perceived),
    ):
        if need in metric.needs:
            found = {"n": n, "n_ref": n_ref}.items()
            counts |= {key: len(value) for key, value in found if value is not None}
    return counts


def _value(metric: Metric, evidence: Evidence) -> Value:
    out = metric.fn(evidence)
    out = Value(*out) if isinstance(out, tuple) else Value(out)
    if not math.isfinite(out.value):
        raise Undefined(f"the value is {out.value}")
    sd = spread_over_halves(metric, evidence) if metric.spread else out.sd
    return out._replace(sd=sd if sd is not None and math.isfinite(sd) else None)


def _obstacle(metric: Metric, evidence: Evidence) -> str | None:
    """Why a metric cannot be computed, or None."""
    for need in sorted(metric.needs):
        if getattr(evidence, need, None) is None and need not in evidence.cost:
            why = evidence.missing.get(need, "which this model or data set does not give")
            return f"needs {need}, {why}"
    if evidence.gen is not None and "gen" in metric.needs:
        if not evidence.once("finite", lambda: bool(evidence.gen.isfinite().all())):
            return "features of the samples are not finite"
        least = metric.min_n(evidence.gen.shape[1])
        n = min(len(evidence.gen), len(evidence.ref))
        if n < least:
            return f"needs at least {least} examples for {evidence.gen.shape[1]} features, has {n}"
    return None


def _protocol(metric: Metric, row: Row, reference: str, given: str) -> str:
    """What must be equal for two values to be compared."""
    parts = [f"{metric.name}@{metric.version}"]
    if metric.axis == "cost":
        return parts[0]
    parts.append(reference)
    if row["extractor"]:
        parts.append(row["extractor"])
    if row["n"] is not None and (row["extractor"] or row["n"] != row["n_ref"]):
        parts.append(f"n={row['n']}")
    if row["n_ref"] is not None or row["n"] is None:
        parts.append(f"ref={row['n_ref']}")
    if metric.axis == "likelihood" and given:
        parts.append(f"given {given}")
    return " ".join(parts)
