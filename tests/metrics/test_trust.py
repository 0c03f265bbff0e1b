"""What experiments/metric_faults finds on pictures, in small: which metric sees which fault."""

import pytest
import torch
from scipy.stats import kendalltau

from aigc.data.faults import Pool, faulty
from aigc.lab import build
from aigc.lab.conf import compose
from aigc.metrics.features import RandConv
from aigc.metrics.registry import METRICS, Evidence

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@pytest.fixture(scope="module")
def pictures():
    """Digits: half of the training data for the model to have seen, the other half as samples."""
    store = build.store(compose("train", ["modality=image"]))
    (train, y), (ref, _) = store.examples("train", 2000), store.examples("test", 300)
    extract = RandConv(store.codec.field(train), 16)
    features = lambda ids: extract(store.codec.field(ids))  # noqa: E731
    return Pool(train[500:], y[500:], store.space, train[:500]), features, features(ref)


def tau(pictures, metric: str, fault: str) -> float:
    pool, features, ref = pictures
    bad, facts = [], METRICS[metric]
    train = features(pool.seen)
    for strength in STRENGTHS:
        gen = features(faulty(pool, fault, strength, 300)[0])
        value = facts.fn(Evidence("image", gen, ref, train))
        value = value[0] if isinstance(value, tuple) else value
        sign = {"low": value, "high": -value, "target": abs(value - (facts.target or 0))}
        bad.append(sign[facts.better])
    return float(kendalltau(STRENGTHS, torch.tensor(bad)).statistic)


@pytest.mark.parametrize("fault", ["noise", "blur", "dropped"])
def test_frechet_distance_orders_the_strengths(pictures, fault: str):
    assert tau(pictures, "fd", fault) > 0.7


def test_recall_and_coverage_see_what_is_missing_and_precision_does_not(pictures):
    for metric in ("recall", "coverage"):
        assert tau(pictures, metric, "dropped") > 0.7
        assert tau(pictures, metric, "duplicates") > 0.7
    assert tau(pictures, "precision", "dropped") < 0.5
    assert tau(pictures, "precision", "blur") < 0.5  # pictures near the mean pass as typical ones


def test_copies_of_the_training_data_are_seen_by_memorisation_alone(pictures):
    for metric in ("nn_ratio", "auth_pct", "c_t"):
        assert tau(pictures, metric, "copies") > 0.6
    for metric in ("fd", "recall", "precision"):
        assert tau(pictures, metric, "copies") < 0.5
