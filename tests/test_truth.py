"""Closed forms: what theory says to the last digits, the code must say too."""

from math import log

import numpy as np
import pytest
import torch

from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.core.views import Grid, Tokens
from aigc.data.sets.law import entropy_rate, stationary_law
from aigc.families.autoregressive.objective import token_nats
from aigc.families.diffusion.objective import Objective, bound
from aigc.families.diffusion.predictions import PREDICTIONS
from aigc.families.diffusion.sampling import DDIM, Ancestral, Heun
from aigc.families.diffusion.schedules import Cosine, Linear, expand
from aigc.families.vae.objective import importance_bound, kl_to_prior, log_normal, reparameterize
from aigc.lab.conf import compose
from aigc.lab.run import load
from aigc.lab.training import train
from aigc.metrics.distance import frechet


class GaussianData:
    """x_0 ~ N(mean, diag(sd^2)): the best denoiser is linear, so every sampler has a known
    result."""

    mean = torch.tensor([0.5, -0.3, 0.0, 1.0], dtype=torch.float64)
    sd = torch.tensor([0.3, 0.5, 1.0, 0.2], dtype=torch.float64)

    def __init__(self, schedule):
        self.schedule = schedule

    def denoise(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = (expand(a, x) for a in self.schedule(t))
        gain = alpha * self.sd**2 / (alpha**2 * self.sd**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "cosine"])
@pytest.mark.parametrize(
    "sampler", [DDIM(1000), DDIM(1000, eta=0.5), Ancestral(1000), Heun(250)], ids=lambda s: repr(s)
)
def test_the_exact_denoiser_gives_back_mean_and_covariance(schedule, sampler):
    data = GaussianData(schedule)
    rng = Rng(0, torch.arange(20_000))
    x_T = rng.normal(4).double()
    *_, x = sampler(data.denoise, x_T, schedule, rng)
    z = (x - data.mean) / data.sd  # should be standard normal
    assert z.mean(0).abs().max() < 4 / 20_000**0.5
    assert (torch.cov(z.T) - torch.eye(4)).abs().max() < 0.05


def test_heun_is_of_second_order_and_ddim_of_first():
    """The flow of a Gaussian is known: x_0 = m + sd / std_T (x_T - alpha m)."""
    schedule = Cosine(steps=100_000)
    data = GaussianData(schedule)
    x_1 = Rng(1, torch.arange(64)).normal(4).double()
    alpha, sigma = schedule(torch.ones(1))
    std = (alpha**2 * data.sd**2 + sigma**2).sqrt()
    exact = data.mean + data.sd / std * (x_1 - alpha * data.mean)

    def error(sampler) -> float:
        *_, x = sampler(data.denoise, x_1, schedule, None)
        return float((x - exact).abs().mean())

    first = log(error(DDIM(40)) / error(DDIM(160)), 4)
    second = log(error(Heun(40)) / error(Heun(160)), 4)
    assert first == pytest.approx(1, abs=0.25)
    assert second > 1.6


def test_the_bound_is_tight_for_the_exact_model():
    """With the exact denoiser of discrete data and many steps, the bound comes down to the
    entropy."""
    levels = 17
    view = Grid(Space((1,), levels))
    schedule = Cosine(16_000)
    sd = 0.3
    centres = view.encode(torch.arange(levels)[:, None]).double()
    p = torch.exp(-0.5 * (centres / sd) ** 2)
    p = (p / p.sum())[:, 0]
    entropy = float(-(p * p.log()).sum())
    ids = torch.multinomial(p, 4000, replacement=True, generator=torch.manual_seed(0))
    x = view.encode(ids[:, None]).double()

    def denoise(x_t, t):
        """The exact posterior mean over the levels."""
        alpha, sigma = (expand(a, x_t) for a in schedule(t))
        logits = p.log() - 0.5 * ((x_t - alpha * centres[:, 0]) / sigma) ** 2
        return (logits.softmax(1) @ centres).to(x_t)

    generator = torch.Generator().manual_seed(1)
    quantum = torch.tensor(view.spec.quantum, dtype=torch.float64)
    for cut, gap in ((0.0, 0.02), (0.35, 0.2)):  # a late start costs a little here, where the
        nats = bound(denoise, x, schedule, quantum, 1000, cut, generator)  # denoiser can round
        assert nats.mean() > entropy - 3 * nats.std() / 4000**0.5
        assert nats.mean() < entropy + gap


def test_fewer_terms_of_the_bound_are_unbiased():
    schedule = Cosine(200)
    data = GaussianData(schedule)
    x = (data.mean + data.sd * torch.randn(2000, 4, generator=torch.manual_seed(0))).float()
    quantum = torch.tensor(0.1)
    whole, part = (
        bound(lambda a, t: data.denoise(a.double(), t).float(), x, schedule, quantum, terms)
        for terms in (None, 20)
    )
    error = (part.std() ** 2 + whole.std() ** 2) ** 0.5 / 2000**0.5
    assert (part.mean() - whole.mean()).abs() < 4 * error


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_the_loss_of_a_perfect_network_is_the_conditional_variance(predict: str):
    """For x_0 = 0 and sd -> 0 the network can be exact, and the loss vanishes."""
    schedule = Cosine(100)

    def net(x_t, t, y):
        alpha, sigma = (expand(a, x_t) for a in schedule(t))
        eps = x_t / sigma
        return {"eps": eps, "x0": torch.zeros_like(x_t), "v": alpha * eps}[predict]

    torch.manual_seed(0)
    objective = Objective(schedule, PREDICTIONS[predict]())
    assert objective.loss(net, torch.zeros(256, 3), None) < 1e-8


def test_token_likelihood_sums_to_one():
    """Over all sequences, probabilities of any causal model sum to one."""
    torch.manual_seed(0)
    from aigc.core.spec import Spec
    from aigc.nets.transformer import CausalTransformer

    net = CausalTransformer(Spec((3,), vocab=4), width=16, depth=2, heads=2).eval()
    every = torch.cartesian_prod(*[torch.arange(4)] * 3)
    nats = token_nats(net, every, None).double().sum(1)
    assert torch.exp(-nats).sum().item() == pytest.approx(1, abs=1e-5)


def test_token_likelihood_of_unequal_columns_sums_to_one():
    torch.manual_seed(0)
    from aigc.nets.transformer import CausalTransformer

    view = Tokens(Space((3,), (2, 5, 3), ordered=(True, False, True)))
    net = CausalTransformer(view.spec, width=16, depth=1, heads=2).eval()
    every = torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(3))
    nats = token_nats(net, view.encode(every), None, view.allowed).double().sum(1)
    assert torch.exp(-nats).sum().item() == pytest.approx(1, abs=1e-5)


def test_kl_against_monte_carlo():
    mean, log_var = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 0.5]])
    assert kl_to_prior(mean, log_var).item() == pytest.approx(1.074360635350064, abs=1e-6)
    eps = torch.randn(400_000, 2, generator=torch.manual_seed(0))
    z = reparameterize(mean, log_var, eps)
    estimate = (log_normal(z, mean, log_var) - log_normal(z, 0.0, 0.0)).mean().item()
    assert estimate == pytest.approx(1.07436, abs=0.01)


def test_importance_bound_tightens_to_the_evidence():
    """x | z ~ N(z, 1), z ~ N(0, 1): log p(x) = log N(x; 0, 2), here with a poor posterior."""
    x = torch.tensor(1.5)
    evidence = log_normal(x[None], 0.0, log(2.0)).item()
    generator = torch.manual_seed(0)
    values = []
    for k in (1, 10, 1000):
        z = 0.2 + torch.randn(k, 4000, 1, generator=generator)  # q = N(0.2, 1); exact is N(.75, .5)
        log_w = log_normal(z, 0.0, 0.0) + log_normal(x - z, 0.0, 0.0) - log_normal(z, 0.2, 0.0)
        values.append(importance_bound(log_w).mean().item())
    assert values[0] < values[1] < values[2] < evidence + 0.01
    assert values[2] == pytest.approx(evidence, abs=0.01)


def test_frechet_of_known_gaussians():
    """|m|^2 + d (1 - s)^2 for N(0, I) against N(0.2, 1.21 I), d = 16: 0.8."""
    torch.manual_seed(0)
    X = torch.randn(200_000, 16, dtype=torch.float64)
    Y = torch.randn(200_000, 16, dtype=torch.float64) * 1.1 + 0.2
    assert frechet(X, Y) == pytest.approx(0.8, abs=0.02)


def test_entropy_rate_of_a_known_chain():
    """Two states that stay with probability 0.9: the entropy rate is h(0.9)."""
    chain = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert entropy_rate(chain) == pytest.approx(0.4689955935892812)
    assert stationary_law(chain) == pytest.approx([0.5, 0.5])


def test_a_trained_model_comes_within_three_percent_of_the_markov_entropy():
    """The exact floor of a window of T: (H(first) + (T - 1) rate) / T bits a byte."""
    words = ["model=autoregressive", "modality=text", "dataset=markov", "budget=smoke"]
    words += ["budget.examples=6400", "budget.width=64", "budget.depth=2", "trainer.preview=0"]
    words += ["net.causal_lm.dropout=0.0", "modality.codec.context=32", "trainer.validations=4"]
    run = load(train(compose("train", words)).path)
    truth = run.store.meta["truth"]
    floor = (truth["marginal_entropy"] + 31 * truth["entropy_rate"]) / 32
    ids = torch.from_numpy(run.store.ids("test").astype("int64"))
    with torch.no_grad():
        nats = run.model.nats(run.model.view.encode(ids), None)
    bits = float(nats.mean()) / (32 * log(2))
    error = 3 * float(nats.std()) / (32 * log(2) * len(ids) ** 0.5)
    assert floor - error < bits < 1.03 * floor
