"""VAE and GAN: objectives against their definitions, and latents from where they should come."""

import pytest
import torch
from torch import nn

from aigc.core.rng import Rng
from aigc.families.gan.objective import Hinge, NonSaturating, Wasserstein
from aigc.families.gan.penalties import gradient_penalty, r1
from aigc.families.gan.sampling import Truncation
from aigc.families.vae.priors import Standard
from aigc.families.vae.sampling import Bank, Mixture, Prior


def test_adversarial_losses():
    real, fake = torch.tensor([[2.0], [0.5]]), torch.tensor([[-2.0], [0.5]])
    loss = NonSaturating()
    wanted = -(torch.sigmoid(real).log().mean() + (1 - torch.sigmoid(fake)).log().mean())
    assert loss.critic(real, fake).item() == pytest.approx(wanted.item(), abs=1e-6)
    assert loss.generator(fake).item() == pytest.approx(
        -torch.sigmoid(fake).log().mean().item(), abs=1e-6
    )
    assert Hinge().critic(real, fake).item() == pytest.approx(0.25 + 0.75)
    assert Wasserstein().critic(real, fake).item() == pytest.approx(-0.75 - 1.25)


def test_penalties_of_a_linear_critic():
    """D(x) = w x has gradient w everywhere."""
    critic = nn.Linear(3, 1, bias=False)
    squared = critic.weight.square().sum()

    def score(x, y):
        return critic(x)

    x, mix = torch.randn(8, 3), torch.rand(8)
    penalty, scores = r1(score, x, None)
    assert penalty.item() == pytest.approx(squared.item() / 2, rel=1e-5)
    assert torch.allclose(scores, critic(x))
    wanted = (squared.sqrt() - 1) ** 2
    assert gradient_penalty(score, x, -x, None, mix).item() == pytest.approx(
        wanted.item(), rel=1e-4
    )
    penalty.backward()
    assert torch.allclose(critic.weight.grad, critic.weight)


def test_truncation_keeps_latents_inside():
    z = Truncation(0.8).z(50, Rng(0, torch.arange(400)))
    assert z.abs().max() <= 0.8
    assert z.mean().abs() < 0.02
    assert Truncation(10.0).z(50, Rng(0, torch.arange(400))).std() == pytest.approx(1, abs=0.02)


def test_the_mixture_finds_the_aggregate_posterior_of_each_class():
    generator = torch.manual_seed(0)
    y = torch.arange(600) % 2
    centres = torch.tensor([[3.0, 0.0], [-3.0, 1.0]])
    mean = centres[y] + 0.5 * torch.randn(600, 2, generator=generator)
    bank = Bank(mean, torch.full((600, 2), -2.0), y, Standard(2, ())(None))
    label = torch.arange(4000) % 2
    z = Mixture(components=1).z(bank, label, Rng(0, torch.arange(4000)))
    for k in (0, 1):
        assert (z[label == k].mean(0) - centres[k]).abs().max() < 0.15
        # variance of the means plus that of each posterior
        assert z[label == k].var(0) == pytest.approx([0.25 + 0.135] * 2, rel=0.15)
    prior = Prior(temperature=0.5).z(bank, label, Rng(0, torch.arange(4000)))
    assert prior.std() == pytest.approx(0.5, rel=0.03)
