"""Families on continuous data, as a view of latents gives them: no range, no levels."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aigc.core.rng import Rng
from aigc.core.spec import Spec
from aigc.families.diffusion.module import Diffusion
from aigc.families.diffusion.sampling import DDIM
from aigc.families.gan.module import GAN
from aigc.families.likelihoods import Gaussian, default_likelihood


class Says(nn.Module):
    """A network that always says five."""

    def forward(self, x, t=None, y=None):
        return torch.full((len(x), 2), 5.0)


@pytest.mark.parametrize(("quantum", "top"), [(0.0, 5.0), (0.1, 1.0)])
def test_values_beyond_one_are_kept_where_data_have_no_range(quantum: float, top: float):
    view = SimpleNamespace(spec=Spec((2,), quantum=quantum))
    rng = Rng(0, torch.arange(4))
    diffusion = Diffusion(lambda spec: Says(), predict="x0", view=view)
    *_, x = diffusion.draw(4, None, DDIM(steps=4), rng)
    assert x == pytest.approx(top)
    gan = GAN(lambda spec, out: nn.Linear(2, out), lambda spec, latent: Says(), view=view)
    assert gan.generate(torch.zeros(4, 64), None) == pytest.approx(top, abs=1e-3)


def test_the_gaussian_is_the_density_of_torch():
    law, generator = Gaussian(Spec((3, 4))), torch.manual_seed(0)
    x, out = (torch.randn(1, c, 4, generator=generator) for c in (3, 6))
    mean, log_scale = out.unflatten(1, (3, 2)).unbind(2)
    wanted = -torch.distributions.Normal(mean, log_scale.exp()).log_prob(x).sum()
    assert law.nats(x, out).item() == pytest.approx(wanted.item(), rel=1e-5)
    draws = law.sample(out.expand(20_000, -1, -1), Rng(0, torch.arange(20_000)))
    assert torch.allclose(draws.mean(0), law.mean(out)[0], atol=0.15)
    assert torch.allclose(draws.std(0).log(), log_scale[0], atol=0.03)
    assert default_likelihood(Spec((3, 4))) == "gaussian"
