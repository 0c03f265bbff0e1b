"""Discretised laws put a total mass of one on the levels, everywhere."""

import pytest
import torch

from aigc.core.rng import Rng
from aigc.core.spec import Space, Spec
from aigc.core.views import Bits, Grid
from aigc.families.likelihoods import (
    Bernoulli,
    Categorical,
    Logistic,
    default_likelihood,
    discretized_gaussian,
    discretized_logistic,
)


@pytest.mark.parametrize("law", [discretized_logistic, discretized_gaussian])
@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("mean", [-1.7, -0.3, 0.99, 2.5])
@pytest.mark.parametrize("scale", [0.003, 0.1, 2.0])
def test_mass_sums_to_one(law, levels: int, mean: float, scale: float):
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    quantum = torch.tensor(2 / (levels - 1), dtype=torch.float64)
    log_p = law(x, torch.tensor(mean), torch.tensor(scale), quantum)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(log_p).all()


@pytest.mark.parametrize("law", [discretized_logistic, discretized_gaussian])
def test_gradients_are_finite_far_in_the_tails(law):
    mean = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    log_p = law(torch.tensor([0.9, 0.1, -1.0]), mean, torch.tensor(0.01), torch.tensor(0.01))
    log_p.sum().backward()
    assert torch.isfinite(log_p).all() and torch.isfinite(mean.grad).all()


def every(view, levels: int) -> torch.Tensor:
    return view.encode(torch.arange(levels)[:, None])


def test_laws_of_the_vae_sum_to_one_and_sample_what_they_say():
    levels = 5
    view = Grid(Space((1,), levels))
    for law in (Logistic(view.spec), Categorical(view.spec)):
        out = torch.randn(1, law.width, generator=torch.manual_seed(0))
        p = torch.exp(-law.nats(every(view, levels), out.expand(levels, -1)))
        assert p.sum().item() == pytest.approx(1, abs=1e-4)
        draws = law.sample(out.expand(40_000, -1), Rng(0, torch.arange(40_000)))
        found = torch.bincount(view.decode(draws)[:, 0], minlength=levels) / 40_000
        assert (found - p).abs().max() < 0.012
        assert view.decode(law.mode(out))[0, 0] in range(levels)


def test_bernoulli():
    view = Bits(Space((1,), 2, ordered=False))
    law = Bernoulli(view.spec)
    out = torch.tensor([[[0.7]], [[0.7]]])
    p = torch.exp(-law.nats(every(view, 2), out))
    assert p.sum().item() == pytest.approx(1, abs=1e-6)
    assert p[1].item() == pytest.approx(torch.sigmoid(torch.tensor(0.7)).item(), abs=1e-6)
    draws = law.sample(out[:1].expand(20_000, 1, 1), Rng(0, torch.arange(20_000)))
    assert ((draws > 0).float().mean() - p[1]).abs() < 0.015


def test_the_default_fits_the_view():
    assert default_likelihood(Spec((8, 4), quantum=2.0)) == "bernoulli"
    assert default_likelihood(Spec((1, 8, 8), quantum=2 / 16)) == "categorical"
    assert default_likelihood(Spec((1, 8, 8), quantum=2 / 255)) == "logistic"
    assert default_likelihood(Spec((2,), quantum=(2.0, 0.1))) == "logistic"
