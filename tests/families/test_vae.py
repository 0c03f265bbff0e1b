"""The VAE family: bounds against exact evidence, laws against their integrals."""

from functools import partial
from math import log

import pytest
import torch
from torch import nn

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.core.views import Bits, Grid
from aigc.families.vae.flows import Couplings, Planar
from aigc.families.vae.latents import Ladder
from aigc.families.vae.module import VAE
from aigc.families.vae.objective import IWAE, log_normal
from aigc.families.vae.priors import Flow, Mixture, Vamp
from aigc.families.vae.sampling import Mixture as MixtureSampler
from aigc.families.vae.sampling import Prior
from aigc.nets.mlp import MLPDecoder, MLPEncoder

PICTURES = Grid(Space((1, 8, 8), 2))
TINY = partial(MLPEncoder, width=16, depth=1), partial(MLPDecoder, width=16, depth=1)
PRIORS = {
    "mixture": partial(Mixture, components=3),
    "vamp": partial(Vamp, components=4),
    "flow": partial(Flow, depth=2, width=8),
}
POSTERIORS = {"planar": partial(Planar, depth=3), "couplings": partial(Couplings, depth=2, width=8)}
VARIANTS = {
    "standard": {},
    **{name: {"prior": prior} for name, prior in PRIORS.items()},
    **{name: {"posterior": posterior} for name, posterior in POSTERIORS.items()},
    "vamp and couplings": {"prior": PRIORS["vamp"], "posterior": POSTERIORS["couplings"]},
    "ladder": {"levels": 2},
}


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


def shaken(model: nn.Module, scale: float = 0.3) -> nn.Module:
    """Parameters moved away from where they start: flows start as the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += scale * torch.randn(p.shape, generator=generator)
    return model.eval()


def places(low: float, high: float, n: int, dims: int) -> tuple[torch.Tensor, float]:
    """A grid `(n**dims, dims)` and the logarithm of a cell's volume."""
    axis = torch.linspace(low, high, n)
    grid = torch.cartesian_prod(*[axis] * dims).view(-1, dims)
    return grid, dims * log((high - low) / (n - 1))


def test_latents_may_be_maps():
    torch.manual_seed(0)
    vae = VAE(MapEncoder, MapDecoder, latent=3, view=PICTURES, bank=64)
    assert vae.latent_shape == (3, 2, 2)
    ids = torch.randint(2, (64, 1, 8, 8))
    x = vae.view.encode(ids)
    assert torch.equal(vae.encode(x), vae.encoder(x)[:, :3])
    mean, log_var = vae.encoder(x).chunk(2, 1)
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum((1, 2, 3)).mean() / 64
    assert vae.loss(x, None).logs["kl"].item() == pytest.approx(kl.item(), rel=1e-5)
    assert torch.equal(vae.decode(vae.encode(x)), vae.law.mode(vae.decoder(vae.encode(x))))
    vae.observe(ids, None)
    for sampler in (Prior(), MixtureSampler(2)):
        samples, _ = vae.sample(5, sampler=sampler)
        assert samples.shape == (5, 1, 8, 8)
        assert torch.equal(vae.sample(2, sampler=sampler, start=3)[0], samples[3:])
    with pytest.raises(BadInput, match=r"model\.levels above 1"):
        VAE(MapEncoder, MapDecoder, latent=4, levels=2, view=PICTURES)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_likelihood_is_the_evidence(name: str):
    """With two or three latents, `p(x)` and the prior's mass are sums over a grid; weights of the
    bound average to the one, and samples of the prior have the moments of the other."""
    torch.manual_seed(0)
    vae = VAE(*TINY, latent=2, view=Bits(Space((3,), 4)), draws=1, **VARIANTS[name])
    vae = shaken(vae, 0.1 if name == "ladder" else 0.2)
    size = vae.bank_mean.shape[1]
    vae.encoder.net.out.bias.data[size:] = 1.0  # wide posteriors: no weight is large
    x = vae.view.encode(torch.tensor([[0, 1, 3]]))
    z, volume = places(-8, 8, *((41, 3) if size == 3 else (161, 2)))
    with torch.no_grad():
        law = vae.latents.law(vae.posterior)
        log_p = law.log_prob(z)
        p = (log_p + volume).exp()
        assert p.sum().item() == pytest.approx(1, abs=0.01)
        joint = log_p - vae.law.nats(x.expand(len(z), -1, -1), vae.decoded(z, None))
        evidence = (joint.logsumexp(0) + volume).exp().item()
        weights = (-vae.nats(x.expand(20_000, -1, -1), None)).exp()
        error = weights.std().item() / len(weights) ** 0.5
        assert error < 0.05 * evidence
        assert weights.mean().item() == pytest.approx(evidence, abs=4 * error)
        drawn = law.sample(torch.rand(20_000), torch.randn(20_000, size))
        assert (p @ z - drawn.mean(0)).abs().max() < 0.06
        assert -law.log_prob(drawn).mean().item() == pytest.approx(-(p @ log_p).item(), abs=0.04)


@pytest.mark.parametrize("flow", [Couplings(3, 2, width=8), Planar(3, 2, depth=4)])
def test_flows_against_autograd(flow: nn.Module):
    flow = shaken(flow).double()
    x, h = torch.randn(4, 3, dtype=torch.double), torch.randn(4, 2, dtype=torch.double)
    y, log_det = flow(x, h)
    for i in range(4):
        jacobian = torch.func.jacrev(lambda row, i=i: flow(row[None], h[i : i + 1])[0][0])(x[i])
        assert torch.allclose(torch.linalg.slogdet(jacobian)[1], log_det[i])
    if isinstance(flow, Couplings):
        assert torch.allclose(flow.inverse(y, h), x)


class Linear(nn.Module):
    """An encoder or decoder that is one matrix; `bias` holds what does not depend on the input."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x, y=None):
        return x.flatten(1) @ self.weight.T + self.bias


class Normal(nn.Module):
    """`x ~ N(out, variance I)`."""

    variance, width = 0.3, 1

    def nats(self, x, out):
        return -log_normal(x.flatten(1), out, log(self.variance))


@pytest.fixture
def linear() -> tuple[VAE, torch.Tensor, float]:
    """`x = W z + noise`, with the exact posterior's mean and twice its variances, a batch drawn
    from the model, and its exact mean log evidence."""
    generator = torch.manual_seed(0)
    W = torch.randn(4, 2, generator=generator)
    noise = Normal.variance
    precision = torch.eye(2) + W.T @ W / noise
    gain = precision.inverse() @ W.T / noise
    spread = (2 * precision.inverse().diag()).log()
    encoder = Linear(torch.cat([gain, torch.zeros(2, 4)]), torch.cat([torch.zeros(2), spread]))
    view = Bits(Space((4,), 2))
    vae = VAE(lambda spec, out: encoder, lambda spec, latent: Linear(W, 0.0), latent=2, view=view)
    vae.law = Normal()
    covariance = W @ W.T + noise * torch.eye(4)
    law = torch.distributions.MultivariateNormal(torch.zeros(4), covariance)
    x = torch.randn(500, 2, generator=generator) @ W.T
    x = x + noise**0.5 * torch.randn(500, 4, generator=generator)
    return vae, x[:, None], law.log_prob(x).mean().item()


def test_the_bound_rises_with_k_to_the_exact_evidence(linear):
    vae, x, evidence = linear
    values = []
    for k in (1, 4, 16, 400):
        vae.draws, vae.bound = k, IWAE(k)
        values.append(-vae.nats(x, None).mean().item())
        trained = -vae.loss(x, None).value.item() * vae.view.spec.dims
        assert trained == pytest.approx(values[-1], abs=0.25 / k**0.5)
    assert values == sorted(values)
    assert values[0] < evidence - 0.1
    assert values[-1] == pytest.approx(evidence, abs=0.01)


def test_a_ladder_of_equal_estimates_halves_the_variance():
    """With `p = N(0, 1)` above and an estimate `N(m, 1)`, the posterior is `N(m / 2, 1 / 2)`."""
    ladder = Ladder(2, levels=2)
    for p in ladder.parameters():
        nn.init.zeros_(p)
    mean, log_var = torch.tensor([[2.0, -2.0, 1.0]]), torch.zeros(1, 3)
    centre = ladder.draw(mean, log_var, torch.zeros(1, 3), ladder)
    assert centre.z.tolist() == [[1.0, -1.0, 1.0]]  # the top level keeps its own estimate
    spread = ladder.draw(mean, log_var, torch.ones(1, 3), ladder).z - centre.z
    assert spread[0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 1.0])
    low = 2 * 0.5 * (1 + 0.5 - 1 + log(2))
    assert centre.kl[0].tolist() == pytest.approx([low, 0.5])
