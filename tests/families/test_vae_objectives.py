"""Objectives of VAEs against closed forms, brute force and their gradients."""

from math import log

import pytest
import torch
from torch import nn

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.families.vae.adversarial import Adversarial
from aigc.families.vae.divergences import DIP, Factor, InfoVAE, decompose, kernel, mmd
from aigc.families.vae.objective import (
    CIWAE,
    ELBO,
    IWAE,
    MIWAE,
    Capacity,
    Draws,
    active_units,
    kl_by_dim,
    log_normal,
)
from aigc.families.vae.priors import Standard
from aigc.families.vae.sampling import Aggregate, Bank, FlowPrior, TwoStage
from aigc.lab import build
from aigc.lab.choices import conf_dir
from aigc.lab.conf import compose


def drawn(k: int = 1, mean=None, log_var=None) -> Draws:
    """Latents of 32 examples with made-up reconstructions."""
    generator = torch.manual_seed(0)
    mean = torch.randn(32, 3, generator=generator) if mean is None else mean
    log_var = -torch.rand(len(mean), 3, generator=generator) if log_var is None else log_var
    z = mean + (0.5 * log_var).exp() * torch.randn(k, *mean.shape, generator=generator)
    nats = 5 + torch.rand(k, len(mean), generator=generator)
    log_q, log_p = log_normal(z, mean, log_var), log_normal(z, 0.0, 0.0)
    kl = kl_by_dim(mean, log_var)
    prior = lambda: torch.randn(mean.shape, generator=generator)  # noqa: E731
    return Draws(z, nats, log_q, log_p, kl, mean, log_var, prior, dims=2)


def value(objective, draws: Draws, beta: float = 1.0, done: float = 1.0) -> float:
    return objective(draws, beta, done)[0].item()


def test_weights_of_the_kl():
    draws = drawn()
    nats, kl = draws.nats.mean().item(), draws.kl.sum(1).mean().item()
    assert value(ELBO(), draws, beta=3.0) == pytest.approx((nats + 3 * kl) / 2)
    assert value(ELBO(anneal=0.5), draws, 3.0, done=0.1) == pytest.approx((nats + 0.6 * kl) / 2)
    assert value(ELBO(anneal=0.5), draws, 3.0, done=0.8) == pytest.approx((nats + 3 * kl) / 2)
    each = draws.kl.mean(0)
    floor = each.sort().values[1].item()
    wanted = nats + each.clamp(min=floor).sum().item()
    assert value(ELBO(free_bits=floor), draws) == pytest.approx(wanted / 2)
    half = Capacity(nats=10.0, gamma=7.0, rise=0.8)
    assert value(half, draws, done=0.4) == pytest.approx((nats + 7 * abs(kl - 5)) / 2)


def test_a_latent_below_its_free_bits_is_not_pressed():
    mean = torch.full((8, 3), 0.1, requires_grad=True)
    draws = drawn(mean=mean, log_var=torch.zeros(8, 3))
    draws = Draws(draws.z.detach(), draws.nats, *[draws.log_q.detach()] * 2, draws.kl, dims=1)
    ELBO(free_bits=0.5)(draws, 1.0, 1.0)[0].backward()
    assert not mean.grad.any()


def test_importance_weighted_bounds_are_ordered():
    """On the same weights, by Jensen: one by one <= in groups <= all together."""
    draws = drawn(k=12)
    plain = -draws.log_w.mean().item() / 2
    groups, all_ = value(MIWAE(groups=4, each=3), draws), value(IWAE(12), draws)
    assert plain > groups > all_
    assert value(MIWAE(groups=1, each=12), draws) == pytest.approx(all_)
    assert value(MIWAE(groups=12, each=1), draws) == pytest.approx(plain)
    by_hand = -draws.log_w.exp().mean(0).log().mean().item() / 2
    assert all_ == pytest.approx(by_hand, rel=1e-5)
    mixed = value(CIWAE(12, share=0.25), draws)
    assert mixed == pytest.approx(0.25 * value(ELBO(), draws) + 0.75 * all_)


def test_the_parts_of_the_kl():
    """Posteriors `N(m, s^2 I)` with `m ~ N(0, S)`: the aggregate is `N(0, S + s^2 I)`."""
    generator = torch.manual_seed(0)
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    mean = torch.randn(3000, 2, generator=generator) @ factor.T
    variance = 0.25
    log_var = torch.full_like(mean, log(variance))
    z = mean + variance**0.5 * torch.randn(3000, 2, generator=generator)
    parts = decompose(z, mean, log_var)
    total = (log_normal(z, mean, log_var) - log_normal(z, 0.0, 0.0)).mean()
    assert sum(parts).item() == pytest.approx(total.item(), abs=1e-4)

    aggregate = factor @ factor.T + variance * torch.eye(2)
    log_det, own = torch.linalg.slogdet(aggregate)[1], aggregate.diag()
    information = 0.5 * (log_det - 2 * log(variance))
    correlation = 0.5 * (own.log().sum() - log_det)
    by_dim = 0.5 * (own - 1 - own.log()).sum()
    for found, wanted in zip(parts, (information, correlation, by_dim)):
        assert found.item() == pytest.approx(wanted.item(), abs=0.06)


def test_mmd_against_brute_force():
    generator = torch.manual_seed(0)
    a, b = torch.randn(6, 2, generator=generator), torch.randn(6, 2, generator=generator) + 1

    def k(x, y):
        squared = ((x - y) ** 2).sum()
        return sum(c / (c + squared) for c in [4 * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)])

    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs if i != j) / 30
    across = sum(k(a[i], b[j]) for i, j in pairs) / 36
    assert mmd(a, b).item() == pytest.approx((within - 2 * across).item(), abs=1e-5)
    assert kernel(a, a).diagonal().tolist() == pytest.approx([7.0] * 6)
    large = torch.randn(2, 1500, 2, generator=generator)
    assert abs(mmd(*large)) < 0.01 < mmd(large[0], large[1] + 0.5)


def test_without_a_kl_the_posterior_may_shrink():
    wide, narrow = (drawn(log_var=torch.full((32, 3), v)) for v in (0.0, -4.0))
    wae = InfoVAE(alpha=1.0, weight=0.0)
    assert value(wae, narrow) == pytest.approx(value(wae, wide), abs=1e-6)
    info = InfoVAE(alpha=0.0, weight=1.0)  # the ELBO
    assert value(info, wide) == pytest.approx(value(ELBO(), wide))


def test_the_covariance_of_dip():
    mean, log_var = torch.randn(5000, 3, generator=torch.manual_seed(9)), torch.zeros(5000, 3)
    mean[:, 1] += mean[:, 0]
    draws = drawn(mean=mean, log_var=log_var)
    bound = value(ELBO(), draws)
    for kind, of in ((1, mean), (2, draws.z[0])):
        cov = of.T.cov()
        diagonal = cov.diag()
        wanted = 2 * (cov - diagonal.diag()).square().sum() + 3 * (diagonal - 1).square().sum()
        found = 2 * (value(DIP(kind, 2.0, 3.0), draws) - bound)
        assert found == pytest.approx(wanted.item(), rel=0.05)


def test_a_discriminator_learns_the_total_correlation():
    """Two latents with correlation 0.8: `-log(1 - 0.64) / 2` nats."""
    torch.manual_seed(0)
    factor = Factor(2, gamma=1.0, width=32, depth=2)
    optimizer = torch.optim.Adam(factor.parameters(), 5e-3)
    seen = []
    for step in range(300):
        z = torch.randn(1, 256, 2)
        z[..., 1] = 0.8 * z[..., 0] + 0.6 * z[..., 1]
        zero = torch.zeros(1, 256)
        cost, logs = factor(Draws(z, zero, zero, zero, zero.T), 1.0, 1.0)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        seen += [logs["total_correlation"].item()] if step >= 200 else []
    assert sum(seen) / len(seen) == pytest.approx(0.51, abs=0.12)


def test_critics_and_models_learn_from_their_own_loss_alone():
    torch.manual_seed(0)
    x, x_hat = torch.randn(2, 16, 3)
    critic = nn.Linear(3, 1)
    score = lambda x, y: critic(x)  # noqa: E731
    x_hat.requires_grad_()

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = critic

        def forward(self, x, y):
            return self.net(x)

    term, _ = Adversarial(weight=0.3)(Critic(), x, x_hat, None)
    term.backward()
    softplus = nn.functional.softplus
    own = 0.5 * (softplus(-score(x, None)).mean() + softplus(score(x_hat.detach(), None)).mean())
    (wanted,) = torch.autograd.grad(own, [critic.weight])
    assert torch.allclose(critic.weight.grad, wanted)
    (wanted,) = torch.autograd.grad(0.3 * softplus(-score(x_hat, None)).mean(), [x_hat])
    assert torch.allclose(x_hat.grad, wanted)
    assert all(p.requires_grad for p in critic.parameters())


def test_active_units():
    mean = torch.randn(1000, 4, generator=torch.manual_seed(0)) * torch.tensor([1, 0.2, 0.05, 0])
    assert active_units(mean).item() == 0.5


@pytest.fixture
def bank() -> Bank:
    """Two classes, each on its own arc: no Gaussian fits them."""
    angle = torch.rand(800, generator=torch.manual_seed(0)) * 3.14
    y = torch.arange(800) % 2
    mean = torch.stack([angle.cos(), angle.sin() * (1 - 2 * y)], 1) * 2
    return Bank(mean, torch.full((800, 2), -6.0), y, Standard(2, ())(None))


@pytest.mark.parametrize(
    ("sampler", "off"),
    [(Aggregate(), 0.1), (FlowPrior(steps=150), 0.3), (TwoStage(steps=400), 0.3)],
)
def test_fitted_samplers_find_the_arcs_of_each_class(sampler, off: float, bank: Bank):
    label, state = torch.arange(1000) % 2, torch.get_rng_state()
    z = sampler.z(bank, label, Rng(0, torch.arange(1000)))
    assert torch.equal(torch.get_rng_state(), state)
    assert (z.norm(dim=1) - 2).abs().mean() < off  # 0.62 for a Gaussian of the same moments
    assert (z[:, 1] * (1 - 2 * label) > -0.5).float().mean() > 0.95
    assert z[:, 0].std() == pytest.approx(1.41, abs=0.25)


@pytest.mark.parametrize("sampler", [FlowPrior(steps=3), TwoStage(steps=3)])
def test_fits_are_reproducible(sampler, bank: Bank):
    banks = [Bank(bank.mean, bank.log_var, bank.y, bank.prior) for _ in range(2)]
    first, second = (sampler.z(b, None, Rng(0, torch.arange(16))) for b in banks)
    assert torch.equal(first, second)


CHOICES = [
    f"model/{group}={file.stem}"
    for group in ("bound", "prior", "posterior", "adversarial")
    for file in sorted((conf_dir() / "model" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("choice", [*CHOICES, "model.levels=3"])
def test_each_choice_learns(choice: str):
    torch.manual_seed(0)
    words = ["model=vae", "budget=smoke", "net/encoder=mlp", "net/decoder=mlp", choice]
    model = build.model(compose("train", words), Space((1, 4, 4), 17, classes=2))
    x, y = model.view.encode(torch.randint(17, (16, 1, 4, 4))), torch.arange(16) % 2
    model.loss(x, y).value.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle or choice in ("model/bound=wae", "model/posterior=planar")
    model.eval().draws = 2
    assert model.nats(x, y).shape == (16,)
    logs = model.loss(x, y).logs
    assert {"kl", "reconstruction", "active_units"} <= set(logs)
    if "levels" in choice:
        assert sum(logs[f"kl_{i}"] for i in (1, 2, 3)).item() == pytest.approx(
            logs["kl"].item(), rel=1e-4
        )


def test_a_bound_that_needs_a_gaussian_says_so():
    words = ["model=vae", "model/bound=tc", "model/posterior=couplings", "budget=smoke"]
    model = build.model(compose("train", words), Space((1, 8, 8), 17))
    with pytest.raises(BadInput, match="model/bound=tc needs model/posterior=gaussian"):
        model.loss(torch.zeros(4, 1, 8, 8), None)
