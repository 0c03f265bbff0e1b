"""The VAE family: bounds, posteriors and priors against closed forms and brute force."""

import pytest
import torch
from torch import nn

from aigc.core.spec import Space
from aigc.core.views import Grid
from aigc.families.vae.module import VAE
from aigc.families.vae.sampling import Mixture, Prior

PICTURES = Grid(Space((1, 8, 8), 2))


class MapEncoder(nn.Conv2d):
    """A map of two by two places."""

    def __init__(self, spec, out):
        super().__init__(spec.shape[0], out, 4, stride=4)

    def forward(self, x, y=None):
        return super().forward(x)


class MapDecoder(nn.ConvTranspose2d):
    def __init__(self, spec, latent):
        super().__init__(latent, spec.shape[0], 4, stride=4)

    def forward(self, z, y=None):
        return super().forward(z)


def test_latents_may_be_maps():
    torch.manual_seed(0)
    vae = VAE(MapEncoder, MapDecoder, latent=3, view=PICTURES, bank=64)
    assert vae.latent_shape == (3, 2, 2)
    ids = torch.randint(2, (64, 1, 8, 8))
    x = vae.view.encode(ids)
    assert vae.encode(x).shape == (64, 3, 2, 2)
    assert torch.equal(vae.encode(x), vae.encoder(x)[:, :3])
    mean, log_var = vae.encoder(x).chunk(2, 1)
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum((1, 2, 3)).mean() / 64
    assert vae.loss(x, None).logs["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert torch.equal(vae.decode(vae.encode(x)), vae.law.mode(vae.decoder(vae.encode(x))))
    vae.observe(ids, None)
    for sampler in (Prior(), Mixture(2)):
        samples, _ = vae.sample(5, sampler=sampler)
        assert samples.shape == (5, 1, 8, 8)
        assert torch.equal(vae.sample(2, sampler=sampler, start=3)[0], samples[3:])
