"""Every metric gives its golden values, and there is none without."""

import pytest
from golden import GOLDEN, Golden, X, Y

from aigc.metrics.suite import METRICS


def value(name: str, evidence) -> float:
    out = METRICS[name].fn(evidence)
    return out[0] if isinstance(out, tuple) else out


def test_the_recipe_is_the_one_that_the_golden_values_were_computed_on():
    assert X.sum().item() == pytest.approx(-108.04826801806354)
    assert Y.sum().item() == pytest.approx(1554.9432404487375)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g.metric}: {g.oracle}")
def test_golden(golden: Golden):
    assert value(golden.metric, golden.evidence()) == pytest.approx(golden.value, abs=golden.tol)


def test_every_metric_has_a_golden_value():
    missing = set(METRICS) - {golden.metric for golden in GOLDEN}
    assert not missing, f"add an entry to GOLDEN in tests/metrics/golden.py for {missing}"
