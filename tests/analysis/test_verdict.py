"""Claims of papers beside what was found."""

import pytest

from aigc.analysis.verdict import FAILS, HOLDS, IN_THE_MEAN, judge, markdown
from aigc.core.errors import BadInput


def verdict(found: dict, **claim) -> str:
    return judge([{"claim": "it", **claim}], found)[0].verdict


def test_a_number_holds_within_its_tolerance():
    assert verdict({"x": 1.004}, of="x", value=1, within=0.005) == HOLDS
    assert verdict({"x": 1.006}, of="x", value=1, within=0.005) == FAILS
    assert verdict({"x": [0.9, 1.1]}, of="x", value=1, within=0.005) == HOLDS  # their mean


def test_an_order_of_single_values_is_taken_as_it_is():
    assert verdict({"a": 1, "b": 2}, ascending=["a", "b"]) == HOLDS
    assert verdict({"a": 1, "b": 2}, ascending=["b", "a"]) == FAILS
    assert verdict({"a": 1}, ascending=["a", 1.5]) == HOLDS


def test_an_order_over_seeds_holds_only_in_the_mean_unless_it_is_significant():
    near, far = [1.0, 1.4, 0.9], [1.1, 1.5, 1.0]
    assert verdict({"a": near, "b": far}, ascending=["a", "b"]) == IN_THE_MEAN
    assert verdict({"a": near, "b": [9.0, 9.4, 8.9]}, ascending=["a", "b"]) == HOLDS
    assert verdict({"a": near, "b": far}, ascending=["b", "a"]) == FAILS
    assert verdict({"a": near}, ascending=["a", 1.2]) == IN_THE_MEAN  # inside of its interval
    assert verdict({"a": near}, ascending=["a", 5.0]) == HOLDS


def test_every_step_of_an_order_counts():
    found = {"a": 1, "b": 3, "c": 2}
    assert verdict(found, ascending=["a", "c", "b"]) == HOLDS
    assert verdict(found, ascending=["a", "b", "c"]) == FAILS


def test_the_table_shows_the_claim_the_papers_number_ours_and_the_source():
    claim = {"claim": "it", "of": "x", "value": 2, "within": 0.5, "source": "table 1"}
    (line,) = judge([claim], {"x": [1.9, 2.1]})
    assert (line.paper, line.verdict) == ("2 ± 0.5", HOLDS)
    assert "| it (table 1) | 2 ± 0.5 | 2 ± 1.3 | holds |" in markdown([line])


def test_a_claim_of_what_was_not_measured_names_what_was():
    with pytest.raises(BadInput, match=r"radius.*did you mean 'radius'"):
        verdict({"radius": 1}, of="radios", value=1, within=1)
    with pytest.raises(BadInput, match="`of` with `value`, or `ascending`"):
        verdict({"radius": 1})
