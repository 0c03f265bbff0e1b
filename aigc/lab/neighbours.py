"""The generated examples that lie closest to training data, each beside its neighbour: for people
to judge whether a model copies."""

import json
from pathlib import Path

import torch
from torch import Tensor

from aigc.lab.judge import Judge
from aigc.metrics.registry import Evidence
from aigc.metrics.structure import distances

PAIRS = 6


def save_nearest(folder: Path, ids: Tensor, judge: Judge, evidence: dict[str, Evidence]) -> None:
    """Render pairs (generated, training) to `folder/nearest/<i>`, closest first, by the first
    extractor; `nearest.json` has their distances and those of unseen real data."""
    extractor, one = next(iter(evidence.items()))
    (near, index), (real, _) = (_nearest(x, one.train) for x in (one.gen, one.ref))
    rows = near.argsort()[:PAIRS]
    for i, row in enumerate(rows.tolist()):
        place = folder / "nearest" / str(i)
        place.mkdir(parents=True, exist_ok=True)
        judge.codec.render(torch.stack([ids[row].cpu(), judge.fit_on[index[row]]]), place)
    facts = {
        "extractor": extractor,
        "n": len(ids),
        "distances": [round(d, 6) for d in near[rows].tolist()],
        "real_closest": round(float(real.min()), 6),
        "real_median": round(float(real.median()), 6),
    }
    (folder / "nearest" / "nearest.json").write_text(json.dumps(facts))


def _nearest(X: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each row to the nearest training example, and which one it is."""
    found = [slab.min(1) for slab in distances(X, train)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
