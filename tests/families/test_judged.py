"""Samplers that ask the critic: with an exact density ratio they draw from the data's law."""

import pytest
import torch
from scipy.stats import kstest, norm
from torch import nn

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.core.views import Grid
from aigc.families.gan.module import GAN
from aigc.families.gan.sampling import (
    Langevin,
    MetropolisHastings,
    Prior,
    Rejection,
    Verdict,
)
from aigc.lab.costs import count_calls

DATA = norm(0.5, 0.6)
SAMPLERS = [Rejection(40), MetropolisHastings(40), Langevin(150, 0.05)]


def log_ratio(z: torch.Tensor) -> torch.Tensor:
    """The generator is the identity on one normal number, the data are N(0.5, 0.36)."""
    return z[:, 0].square() / 2 - (z[:, 0] - 0.5).square() / (2 * 0.36)


def typical() -> torch.Tensor:
    return log_ratio(Rng(5, torch.arange(256)).normal(1))


VERDICT = Verdict(log_ratio, typical)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_exact_critic_corrects_the_generator(sampler):
    rng = Rng(0, torch.arange(2000))
    assert kstest(Prior().z(1, rng)[:, 0].numpy(), DATA.cdf).pvalue < 1e-20
    z = sampler.choose(1, Rng(0, torch.arange(2000)), VERDICT)
    assert kstest(z[:, 0].numpy(), DATA.cdf).pvalue > 0.02


def test_a_lower_percentile_keeps_more():
    """Exactly, the acceptance rate is `exp(-M)`; a shift of the logit raises it."""
    first = Rng(0, torch.arange(4000)).take(torch.arange(4000))
    first.normal(1)  # the fallback that `choose` begins with
    proposal = first.normal(1)
    kept = {
        p: (Rejection(60, p).choose(1, Rng(0, torch.arange(4000)), VERDICT) == proposal)
        for p in (None, 20.0, 80.0)
    }
    rates = {p: rows.float().mean().item() for p, rows in kept.items()}
    highest = 0.6 * torch.exp(-typical().max()).item()  # the ratio lacks its constant, 1 / 0.6
    assert rates[None] == pytest.approx(highest, abs=0.03)
    assert rates[20.0] > 1.2 * rates[80.0]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_draws_from_its_own_stream(sampler):
    whole = sampler.choose(1, Rng(3, torch.arange(64)), VERDICT)
    part = sampler.choose(1, Rng(3, torch.arange(32, 48)), VERDICT)
    assert torch.equal(whole[32:48], part)


class Linear(nn.Module):
    """Either role, on flat data."""

    def __init__(self, inp: int, shape: tuple[int, ...], classes: int):
        super().__init__()
        self.shape, self.net = shape, nn.Linear(inp, 8)
        self.label = nn.Embedding(classes, 8)
        self.out = nn.Linear(8, torch.Size(shape).numel())

    def forward(self, x, y=None):
        h = self.net(x if x.ndim == 2 else x.flatten(1))
        return self.out((h + self.label(y)).tanh()).view(len(x), *self.shape)


@pytest.fixture
def gan() -> GAN:
    torch.manual_seed(0)
    view = Grid(Space((1, 2, 3), 16, classes=3))
    model = GAN(
        encoder=lambda spec, out: Linear(spec.dims, (out,), 3),
        decoder=lambda spec, latent: Linear(latent, spec.shape, 3),
        latent=5,
        view=view,
    )
    model.critic.out.weight.data *= 30  # a critic with opinions
    return model.eval()


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [(Rejection(6), None), (MetropolisHastings(6), 8), (Langevin(6, 0.1), 7)],
)
def test_a_model_samples_by_them(gan: GAN, sampler, calls: int | None):
    whole, y = gan.sample(40, seed=1, sampler=sampler)
    counted = count_calls(gan.sampled_net)
    later, _ = gan.sample(8, y=y[32:], seed=1, sampler=sampler, start=32)
    count = counted.stop()
    assert torch.equal(whole[32:], later)  # the number of a sample is all that it depends on
    assert count == calls if calls else 3 <= count <= 8
    plain, _ = gan.sample(40, seed=1, sampler=Prior())
    assert not torch.equal(whole, plain)


def test_the_critic_prefers_what_they_draw(gan: GAN):
    def score(sampler) -> float:
        ids, y = gan.sample(256, sampler=sampler)
        return gan.scores(gan.view.encode(ids), y).mean().item()

    before = score(Prior())
    for sampler in (Rejection(30), MetropolisHastings(30), Langevin(30, 0.1)):
        assert score(sampler) > before + 0.3


def test_straight_through_data_are_valid_and_have_the_gradient_of_the_others(gan: GAN):
    z, y = torch.randn(6, 5, requires_grad=True), torch.arange(6) % 3
    soft = gan.generate(z, y)
    (wanted,) = torch.autograd.grad(2 * soft.sum(), z)
    gan.straight_through = True
    hard = gan.generate(z, y)
    (found,) = torch.autograd.grad(2 * hard.sum(), z)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(hard, gan.view.encode(gan.view.decode(soft)))
    assert not torch.allclose(hard, soft)


def test_a_critic_of_packs_cannot_choose(gan: GAN):
    gan.pack = 2
    with pytest.raises(BadInput, match="packs"):
        gan.sample(4, sampler=Rejection())
