"""Every set metric on real examples with a fault of growing strength.

    python experiments/metric_faults/measure.py image [--seeds 3] [--n 500]

Writes `results/<modality>.json`: for each metric, extractor and fault its values, one row a seed,
one column a strength. Slow metrics are tried on one seed and the first extractor.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from aigc.core.rng import seeds
from aigc.data.faults import FAULTS, Pool, faulty
from aigc.lab import build
from aigc.lab.conf import compose
from aigc.lab.judge import Judge
from aigc.metrics.registry import Evidence, Metric, Undefined

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
MODES = 10  # clusters, where a data set has fewer classes
NEEDS = {"gen", "ref", "train", "written", "rows", "probs", "ref_probs"}
EXTRACTORS = {"text": ["randconv", "pca", "wordllama"]}


def main() -> None:
    """Measure one modality."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modality")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=500)
    args = parser.parse_args()
    config, start = compose("train", [f"modality={args.modality}"]), time.perf_counter()
    extractors = EXTRACTORS.get(args.modality, ["randconv", "pca", "clf"])
    judge = Judge(build.store(config), args.n, extractors, names="all")
    pool, y = pool_of(judge)
    found: dict[tuple, list[list[float | None]]] = {}
    for fault in FAULTS:
        for seed in range(args.seeds):
            for strength in STRENGTHS:
                ids, rows = faulty(pool, fault, strength, len(judge.ref), seed)
                for name, value in values(judge, pool, ids, None if y is None else y[rows], seed):
                    found.setdefault((*name, fault), [[] for _ in range(args.seeds)])
                    found[(*name, fault)][seed].append(value)
    facts = {"modality": args.modality, "dataset": judge.store.meta["name"], "n": len(judge.ref)}
    facts |= {"pool": len(pool.ids), "strengths": STRENGTHS, "modes": int(pool.modes.max()) + 1}
    facts |= {"seconds": round(time.perf_counter() - start)}
    tries = [
        {"metric": m.name, "better": m.better, "target": m.target, "axis": m.axis}
        | {"extractor": e, "fault": fault, "values": [row for row in rows if row]}
        for (m, e, fault), rows in found.items()
        if any(v is not None for row in rows for v in row)
    ]
    file = Path(__file__).parent / "results" / f"{args.modality}.json"
    file.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in tries)
    file.write_text(f'{{"facts": {json.dumps(facts)},\n"tries": [\n{lines}\n]}}\n')
    print(file, facts["seconds"], "s")


def pool_of(judge: Judge) -> tuple[Pool, Tensor | None]:
    """Validation data and the second half of the training data, which memorisation does not see,
    and their labels."""
    half, (ids, y) = len(judge.fit_on) // 2, judge.store.examples("validation", 2000)
    ids = torch.cat([ids, judge.fit_on[half:]])[:4000]
    y = None if y is None or y.ndim > 1 else torch.cat([y, judge.fit_on_y[half:]])[:4000]
    labelled = y is not None and int(y.max()) + 1 >= MODES
    return Pool(
        ids, y if labelled else clusters(judge, ids), judge.store.space, judge.fit_on[:half]
    ), y


def clusters(judge: Judge, ids: Tensor) -> Tensor:
    """Groups of examples that lie close to each other."""
    from sklearn.cluster import KMeans

    features = next(iter(judge.evidence(ids).values())).gen.numpy()
    found = KMeans(MODES, n_init=5, random_state=seeds(0)).fit(features)
    return torch.from_numpy(found.labels_).long()


def values(judge: Judge, pool: Pool, ids: Tensor, y: Tensor | None, seed: int):
    """`((metric, extractor), value)` of what can be computed; None where it means nothing."""
    half = len(judge.fit_on) // 2
    for i, (extractor, whole) in enumerate(judge.evidence(ids, y).items()):
        evidence = replace(whole, train=whole.train[:half], _memo={})
        if evidence.rows is not None:
            labels = evidence.rows.labels
            labels = labels and (*labels[:2], labels[2][:half])
            rows = evidence.rows._replace(train=evidence.rows.train[:half], labels=labels)
            evidence = replace(evidence, rows=rows)
        for metric in judge.metrics:
            by_features = bool(metric.needs & {"gen", "ref", "train"})
            slow = metric.cost == "slow" or metric.name == "c2st_trees"
            if not metric.needs <= NEEDS or (i and not by_features) or (slow and (i or seed)):
                continue
            name = extractor.split("@")[0] if by_features else None
            yield (metric, name), value(metric, evidence, by_features)


def value(metric: Metric, evidence: Evidence, by_features: bool) -> float | None:
    """The metric's value without its spread."""
    absent = any(getattr(evidence, need) is None for need in metric.needs)
    n = min(len(evidence.gen), len(evidence.ref))
    if absent or (by_features and n < metric.min_n(evidence.gen.shape[1])):
        return None
    try:
        out = metric.fn(evidence)
    except Undefined:
        return None
    return float(out[0] if isinstance(out, tuple) else out)


if __name__ == "__main__":
    main()
