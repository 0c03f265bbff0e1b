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
    likelihood,
    structure,
    text,
)
from aigc.metrics.registry import METRICS, Evidence, Metric, Undefined, spread_over_halves

Row = dict[str, Any]


def judge(
    evidence: dict[str, Evidence],
    reference: str,
    kind: str = "none",
    given: str = "",
    names: Iterable[str] | None = None,
) -> list[Row]:
    """Rows of all metrics but those by class (or of `names`) over `evidence`, one entry an
    extractor `id@sha`.

    `reference` names data set, split and content hash; `kind` is that of the likelihood, `given`
    what it is conditioned on. Raises BadInput for an unknown name.
    """
    chosen = [m for m in METRICS.values() if not m.by_class]
    if names is not None:
        chosen = [METRICS[name] for name in names]
    rows = []
    for metric in chosen:
        if next(iter(evidence.values())).modality not in metric.modalities:
            continue
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
    if evidence.gen is not None and extractor:
        row |= {"n": len(evidence.gen), "n_ref": len(evidence.ref)}
    elif evidence.nats is not None and "nats" in metric.needs:
        row["n_ref"] = len(evidence.nats)
    elif evidence.continued is not None and "continued" in metric.needs:
        row |= dict.fromkeys(("n", "n_ref"), len(evidence.continued[0]))
    start = time.perf_counter()
    if reason := _obstacle(metric, evidence):
        row |= {"status": "skipped", "reason": reason}
    else:
        try:
            value, sd = _value(metric, evidence)
            row |= {"value": value, "sd": sd}
        except Undefined as error:
            row |= {"status": "undefined", "reason": str(error)}
    row["seconds"] = round(time.perf_counter() - start, 3)
    return row


def _value(metric: Metric, evidence: Evidence) -> tuple[float, float | None]:
    out = metric.fn(evidence)
    value, sd = out if isinstance(out, tuple) else (out, None)
    if not math.isfinite(value):
        raise Undefined(f"the value is {value}")
    sd = spread_over_halves(metric, evidence) if metric.spread else sd
    return value, sd if sd is not None and math.isfinite(sd) else None


def _obstacle(metric: Metric, evidence: Evidence) -> str | None:
    """Why a metric cannot be computed, or None."""
    for need in sorted(metric.needs):
        if getattr(evidence, need, None) is None and need not in evidence.cost:
            return f"needs {need}, which this model or data set does not give"
    if evidence.gen is not None and "gen" in metric.needs:
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
        parts += [row["extractor"], f"n={row['n']}"]
    parts.append(f"ref={row['n_ref']}")
    if metric.axis == "likelihood" and given:
        parts.append(f"given {given}")
    return " ".join(parts)
