"""Whether a model gives back its training data: distances of generated examples to the training
set, against those of unseen real examples."""

import torch
from torch import Tensor

from aigc.metrics.registry import FEATURES, Evidence, Undefined, Value, metric
from aigc.metrics.structure import distances, nearest

NEEDS = FEATURES | {"train"}
FACTS = {"needs": NEEDS, "axis": "memorisation"}


def _nearest_train(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Distance of each generated, and of each reference example to the training set."""
    own, fresh = evidence.once(
        "nearest", lambda: [nearest(x, evidence.train) for x in (evidence.gen, evidence.ref)]
    )
    if not fresh.median() > 1e-6:  # features of equal ids differ by rounding at most
        raise Undefined("half of the unseen real examples are in the training data as well")
    return own, fresh


@metric("nn_ratio", **FACTS, better="target", target=1.0)
def nn_ratio(evidence: Evidence) -> Value:
    """Distance to the nearest training example, over that of unseen real data; 0 means copies."""
    own, fresh = _nearest_train(evidence)
    generator = torch.Generator().manual_seed(0)
    halves = [
        _ratio(
            *(x[torch.randperm(len(x), generator=generator)[: len(x) // 2]] for x in (own, fresh))
        )
        for _ in range(20)
    ]
    return Value(_ratio(own, fresh), float(torch.tensor(halves, dtype=torch.float64).std()))


def _ratio(a: Tensor, b: Tensor) -> float:
    return float(a.median() / b.median())


@metric("c_t", **FACTS, better="target", target=0.0)
def c_t(evidence: Evidence) -> Value:
    """Data copying test (Meehan et al. 2020, equation 3, one cell): a standard normal score of
    generated examples lying further from the training data than unseen ones; far below 0 means
    copies."""
    return Value(rank_score(*_nearest_train(evidence)), 1.0)


def rank_score(a: Tensor, b: Tensor) -> float:
    """The normal score of Mann and Whitney's U for `a` above `b`, without continuity
    correction."""
    n, m = len(a), len(b)
    order = b.sort().values
    below = torch.searchsorted(order, a.contiguous()).sum()
    ties = torch.searchsorted(order, a.contiguous(), right=True).sum() - below
    u = float(below) + 0.5 * float(ties)
    return (u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5


@metric("auth_pct", **FACTS, better="high", spread=True, shown=False)
def auth_pct(evidence: Evidence) -> float:
    """Percentage of generated examples that are further from their nearest training example than
    that is from the rest of the training data (Alaa et al. 2022); read it beside real data's."""
    pairs = [slab.min(1) for slab in distances(evidence.gen, evidence.train)]
    near, index = (torch.cat(parts) for parts in zip(*pairs))
    hit, back = index.unique(return_inverse=True)
    second = [slab.topk(2, largest=False).values[:, 1] for slab in _slabs(evidence.train, hit)]
    return 100 * float((near > torch.cat(second)[back]).double().mean())


def _slabs(train: Tensor, rows: Tensor):
    return distances(train[rows], train)


@metric("dcr", **FACTS, better="target", target=0.5, shown=False)
def dcr(evidence: Evidence) -> Value:
    """Share of generated examples that are closer to training than to as many unseen real ones
    (distance to the closest record); 1 means copies, 0.5 none."""
    n = min(len(evidence.ref), len(evidence.train))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(evidence.train), generator=generator)[:n]
    seen, unseen = (nearest(evidence.gen, x) for x in (evidence.train[rows], evidence.ref[:n]))
    share = float(((seen < unseen).double() + 0.5 * (seen == unseen)).mean())
    return Value(share, (share * (1 - share) / len(seen)) ** 0.5)


@metric("membership", **FACTS, better="target", target=0.5, shown=False)
def membership(evidence: Evidence) -> Value:
    """How well distance to the nearest generated example tells training from unseen examples: the
    area under the attacker's curve (Chen et al. 2020, full black box); 0.5 is chance."""
    n = len(evidence.ref)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(evidence.train), generator=generator)[:n]
    seen, unseen = (nearest(x, evidence.gen) for x in (evidence.train[rows], evidence.ref))
    scale = ((len(seen) + len(unseen) + 1) / (12 * len(seen) * len(unseen))) ** 0.5
    return Value(0.5 + scale * rank_score(unseen, seen), scale)
