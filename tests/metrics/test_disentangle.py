"""Disentanglement scores at codes for which they are known."""

from itertools import product
from math import log

import numpy as np
import pytest

from aigc.metrics.disentangle import (
    dci,
    entropies,
    importance_scores,
    mig,
    mutual_information,
    sap,
)

GRID = np.array(list(product(range(4), range(5), range(2))))  # a full factorial
FACTORS = np.repeat(GRID, 20, axis=0)


def test_entropies_of_a_full_factorial():
    assert entropies(FACTORS) == pytest.approx([log(4), log(5), log(2)])


def test_the_factors_themselves_are_untangled():
    codes = 2.0 * FACTORS - 7
    assert mutual_information(codes, FACTORS) == pytest.approx(np.diag(entropies(FACTORS)))
    assert mig(codes, FACTORS) == pytest.approx(1)
    assert sap(codes, FACTORS) == pytest.approx(1, abs=0.03)  # chance, on half the examples
    scores = dci(codes, FACTORS)
    assert all(value == pytest.approx(1, abs=1e-3) for value in scores.values()), scores


def test_a_permutation_and_a_change_of_sign_change_nothing():
    codes = -3.0 * FACTORS[:, [2, 0, 1]]
    assert mig(codes, FACTORS) == pytest.approx(1)
    assert sap(codes, FACTORS) == pytest.approx(1, abs=0.03)  # chance, on half the examples


def test_a_factor_known_twice_has_no_lead():
    """Two of three factors are known by one dimension each: MIG and SAP are 2 / 3."""
    codes = np.concatenate([FACTORS, FACTORS[:, :1]], axis=1).astype(float)
    assert mig(codes, FACTORS) == pytest.approx(2 / 3)
    assert sap(codes, FACTORS) == pytest.approx(2 / 3, abs=0.03)


def test_a_coarse_copy_takes_its_share_of_the_lead():
    """A second code knows whether a factor of four values is above its middle: log 2 of log 4."""
    codes = np.stack([FACTORS[:, 0], FACTORS[:, 0] >= 2], axis=1).astype(float)
    assert mig(codes, FACTORS[:, :1]) == pytest.approx(1 - log(2) / log(4))
    # Balanced accuracy by thresholds: 1 against 1/2, which is 1/3 above chance.
    assert sap(codes, FACTORS[:, :1]) == pytest.approx(1 - 1 / 3)


def test_a_rotation_by_45_degrees_tangles_two_factors():
    """Of two independent signs, sum and difference know the same of each: 3/2 log 2 less the
    entropy left when one sign is known, log 2, is 1/2 log 2; no lead."""
    signs = np.repeat(np.array(list(product((0, 1), (0, 1)))), 50, axis=0)
    a, b = 2.0 * signs.T - 1
    codes = np.stack([a + b, a - b], axis=1)
    assert mutual_information(codes, signs) == pytest.approx(np.full((2, 2), log(2) / 2))
    assert mig(codes, signs) == pytest.approx(0, abs=1e-12)
    assert dci(codes, signs)["dci_disentanglement"] < 0.1


def test_bins_bound_what_a_code_can_know():
    """Two bins of equal width leave log 2 of a factor of four values; the rest is cut away."""
    codes = np.stack([FACTORS[:, 0], np.zeros(len(FACTORS))], axis=1).astype(float)
    assert mig(codes, FACTORS[:, :1], bins=2) == pytest.approx(log(2) / log(4))


def test_random_codes_know_nothing():
    rng = np.random.RandomState(0)
    factors = rng.randint(0, 3, (4000, 2))
    codes = rng.randn(4000, 4)
    bias = 19 * 2 / (2 * 4000)
    assert mutual_information(codes, factors).mean() == pytest.approx(bias, rel=0.5)
    assert mig(codes, factors) < 0.01 and sap(codes, factors) < 0.05
    scores = dci(codes, factors, trees=20)
    assert scores["dci_disentanglement"] < 0.05 and scores["dci_completeness"] < 0.05
    assert scores["dci_informativeness"] == pytest.approx(1 / 3, abs=0.05)


def test_importances_by_hand():
    """A row of one factor alone counts 1, an even row 0, weighted by what they carry."""
    importance = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])
    disentangled, complete = importance_scores(importance)
    assert disentangled == pytest.approx(0.5)
    first = -(2 / 3 * log(2 / 3) + 1 / 3 * log(1 / 3)) / log(3)
    assert complete == pytest.approx(((1 - first) + 1) / 2)
