"""Numbers are uniform, normal and independent, and a row's stream is its own."""

import pytest
import torch
from scipy import stats

from aigc.core.rng import Ahead, Rng, permuted, seeds


def test_a_row_depends_on_seed_and_index_only():
    alone = Rng(3, torch.tensor([41]))
    among = Rng(3, torch.arange(100))
    for _ in range(3):
        assert torch.equal(alone.normal(5)[0], among.normal(5)[41])
        assert torch.equal(alone.uniform(2, 2)[0], among.uniform(2, 2)[41])


def test_normals_are_normal_and_uniforms_uniform():
    rng = Rng(0, torch.arange(2000))
    z, u = rng.normal(51).flatten().numpy(), rng.uniform(51).flatten().numpy()
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert stats.kurtosis(z) == pytest.approx(0, abs=0.05)


def test_rows_draws_and_seeds_are_uncorrelated():
    rng = Rng(0, torch.arange(4000))
    a, b = rng.normal(8), rng.normal(8)
    other = Rng(1, torch.arange(4000)).normal(8)
    for x, y in ((a, b), (a, other), (a[:-1], a[1:]), (a[:, :-1], a[:, 1:])):
        correlation = (x * y).mean()
        assert abs(float(correlation)) < 4 / x.numel() ** 0.5


def test_categorical_follows_its_probabilities():
    p = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64)
    drawn = Rng(0, torch.arange(20_000)).categorical(p)
    counts = torch.bincount(drawn, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], 20_000 * p[[0, 2, 3]]).pvalue > 0.01


def test_seeds_differ_by_purpose():
    found = {seeds(s, *path) for s in range(20) for path in ((), (0,), (1,), (0, 1), (1, 0))}
    assert len(found) == 100
    assert all(0 <= seed < 2**31 for seed in found)


def test_numbers_made_ahead_are_the_same():
    plain, ahead = Rng(5, torch.arange(7)), Ahead(Rng(5, torch.arange(7)), 4)
    for shape in ((1,),) * 6 + ((3,), (1,), (2, 2)) + ((1,),) * 5:
        assert torch.equal(plain.uniform(*shape), ahead.uniform(*shape))
    assert torch.equal(plain.normal(3), ahead.normal(3))
    assert torch.equal(plain.uniform(1), ahead.uniform(1))
    rows = torch.tensor([4, 2])
    assert torch.equal(plain.take(rows).uniform(2), ahead.take(rows).uniform(2))


@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000, 4097])
def test_a_permutation_by_place(n: int):
    places = torch.arange(n)
    a, b = permuted(places, n, 1), permuted(places, n, 2)
    assert a.sort().values.tolist() == places.tolist() == b.sort().values.tolist()
    assert torch.equal(permuted(places[n // 2 :], n, 1), a[n // 2 :])
    if n >= 1000:  # as far from order, and from each other, as random ones
        for order in (a, b, a[b]):
            steps = order.double().diff().abs().mean() / n
            assert abs(steps - 1 / 3) < 0.03
            fixed = int((order == places).sum())
            assert fixed < 8
