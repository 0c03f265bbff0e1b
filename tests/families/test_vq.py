"""Quantisers against their definitions, and the bound of the VQ-VAE against all that can be."""

from functools import partial
from itertools import pairwise, product
from math import log

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.core.views import Grid
from aigc.families.vae.vq_module import VQVAE
from aigc.families.vae.vq_objective import FSQ, VQ, ResidualVQ, nearest, spectral_distance, usage
from aigc.families.vae.vq_sampling import Frequencies
from aigc.nets.maps import MapDecoder, MapEncoder
from aigc.nets.mlp import MLPDecoder, MLPEncoder


def started(quantizer, z):
    """The quantiser after k-means on `z`, not followed."""
    torch.manual_seed(0)
    quantizer.train()(z)
    return quantizer.eval()


def data(n=64, dim=3, side=4, seed=0):
    return torch.randn(n, dim, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", [partial(VQ, 16, 3), partial(FSQ, [3, 4, 8])])
def test_codes_to_vectors_and_back_are_the_same_codes(make):
    quantizer = make()
    if isinstance(quantizer, VQ):
        started(quantizer, data())
    codes = torch.arange(quantizer.size).view(-1, 1, 1)
    vectors = quantizer.embed(codes)
    assert len(vectors.flatten(1).unique(dim=0)) == quantizer.size
    if isinstance(quantizer, FSQ):  # its vectors lie where rounding puts them: ask before tanh
        half = (quantizer.levels - 1) / 2 * (1 - 1e-3)
        offset = (quantizer.levels % 2 == 0) * 0.5
        digits = vectors[..., 0] * (quantizer.levels // 2)
        inside = ((digits + offset) / half).clamp(-1 + 1e-6, 1 - 1e-6)
        vectors = (inside.atanh() - (offset / half).atanh())[..., None]
    out = quantizer(vectors)
    assert torch.equal(out.codes, codes)
    assert torch.allclose(out.z, quantizer.embed(codes), atol=1e-6)


def test_each_channel_of_fsq_takes_all_its_levels():
    quantizer = FSQ([3, 4, 8])
    codes = quantizer(2 * data(4000)).codes
    assert codes.unique().tolist() == list(range(96))
    vectors = quantizer.embed(codes)
    assert [len(vectors[:, i].unique()) for i in range(3)] == [3, 4, 8]
    assert vectors.abs().max() <= 1


def test_the_nearest_entry_is_the_nearest():
    rows, table = data(50).flatten(1), data(9, seed=1).flatten(1)
    wanted = (rows[:, None] - table).square().sum(-1).argmin(1)
    assert torch.equal(nearest(rows, table), wanted)


def test_more_codebooks_leave_less():
    z = data(256)
    quantizer = started(ResidualVQ(8, 3, depth=4), z)
    codes = quantizer(z).codes
    assert codes.shape == (256, 4, 4)
    rest, errors = z, [float(z.square().mean())]
    for stage, part in zip(quantizer.stages, codes.split(1, dim=1)):
        rest = rest - stage.embed(part)
        errors.append(float(rest.square().mean()))
    assert all(b < a for a, b in pairwise(errors))
    assert torch.allclose(z - rest, quantizer.embed(codes), atol=1e-6)
    assert torch.allclose(quantizer(z).z, quantizer.embed(codes), atol=1e-6)


def test_the_codebook_follows_by_the_closed_form():
    """Under one batch again and again: `sums_k = d**k sums_0 + (1 - d**k) S`, and in the limit the
    entries are the means of their vectors."""
    centres = torch.tensor([[5.0, 0, 0], [-5, 0, 0], [0, 5, 0]])
    z = (centres[torch.arange(60) % 3] + 0.1 * data(60, side=1)[..., 0])[..., None]
    quantizer = VQ(3, 3, decay=0.9, revive=0.0)
    quantizer.table.copy_(centres)
    quantizer.counts.fill_(7.0)
    quantizer.sums.copy_(7 * centres)
    quantizer.started.fill_(True)
    total = torch.stack([z[i::3, :, 0].sum(0) for i in range(3)])
    for k in range(1, 120):
        quantizer(z)
        left = 0.9**k
        sums, counts = left * 7 * centres + (1 - left) * total, left * 7 + (1 - left) * 20
        assert torch.allclose(quantizer.table, sums / counts, atol=1e-4)
    means = torch.stack([z[i::3, :, 0].mean(0) for i in range(3)])
    assert torch.allclose(quantizer.table, means, atol=1e-4)


def test_evaluation_moves_nothing():
    quantizer = started(VQ(8, 3), data())
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(data(seed=5))
    assert all(torch.equal(v, before[k]) for k, v in quantizer.state_dict().items())


def test_dead_codes_come_back():
    torch.manual_seed(0)
    for revive, alive in ((0.1, 1.0), (0.0, 0.125)):
        quantizer = VQ(8, 3, revive=revive)
        quantizer.table.fill_(100.0)  # all far off; the first takes everything
        quantizer.counts.fill_(1.0)
        quantizer.sums.fill_(100.0)
        quantizer.started.fill_(True)
        for _ in range(50):
            codes = quantizer(data()).codes
        assert usage(codes, 8)[1] == pytest.approx(alive)


@pytest.mark.parametrize("quantizer", [VQ(16, 3), ResidualVQ(8, 3, depth=3)])
def test_the_gradient_goes_straight_through(quantizer):
    started(quantizer, data())
    z, weight = data(seed=2).requires_grad_(), data(seed=3)
    (quantizer(z).z * weight).sum().backward()
    assert torch.allclose(z.grad, weight)


def test_the_gradient_of_fsq_is_that_of_its_bounds():
    quantizer, weight = FSQ([5, 5, 5]), data(seed=3)
    z = data(seed=2).requires_grad_()
    (quantizer(z).z * weight).sum().backward()
    other = data(seed=2).requires_grad_()
    (2 * (1 - 1e-3) * other.tanh() / 2 * weight).sum().backward()
    assert torch.allclose(z.grad, other.grad, atol=1e-6)


def test_spectra_know_no_sign_and_measure_loudness_in_logs():
    x = data(4, 1, 2048, seed=1)
    assert spectral_distance(x, x) == 0
    assert spectral_distance(x, -x) == pytest.approx(0, abs=1e-6)
    assert spectral_distance(x, 2 * x) == pytest.approx(log(2), abs=0.03)


def test_usage_of_known_codes():
    assert [float(v) for v in usage(torch.arange(8), 16)] == pytest.approx([8.0, 0.5])
    assert [float(v) for v in usage(torch.zeros(9).long(), 4)] == pytest.approx([1.0, 0.25])


def test_wrong_settings_are_refused():
    for make in (lambda: VQ(1), lambda: FSQ([2, 8]), lambda: ResidualVQ(depth=0)):
        with pytest.raises(BadInput, match="quantizer"):
            make()


def model(view, maps: bool, quantizer) -> VQVAE:
    torch.manual_seed(0)
    nets = (MapEncoder, MapDecoder) if maps else (MLPEncoder, MLPDecoder)
    encoder, decoder = (partial(net, width=8, depth=1) for net in nets)
    return VQVAE(encoder, decoder, quantizer, places=2, view=view)


@pytest.mark.parametrize("maps", [True, False])
def test_code_lengths_obey_the_inequality_of_kraft(maps):
    """A bound on `-log p` for all data at once: their `exp(-nats)` sum to at most one."""
    space = Space((1, 2, 2), 3)
    every = torch.tensor(list(product(range(3), repeat=4))).view(-1, 1, 2, 2)
    vqvae = model(Grid(space), maps, ResidualVQ(4, 2, depth=2))
    vqvae.train().loss(vqvae.view.encode(every), None)
    vqvae.eval().observe(every[:50], None)
    nats = vqvae.nats(vqvae.view.encode(every), None)
    assert nats.neg().exp().sum() <= 1 + 1e-5
    codes = vqvae.encode(vqvae.view.encode(every[:50]))
    rest = vqvae.distortion(vqvae.view.encode(every[:50]), codes)
    counted = (vqvae.counts.gather(1, codes.T).T + 0.5) / (50 + 0.5 * 4)
    assert torch.allclose(nats[:50], rest - counted.log().sum(1), atol=1e-4)


def test_codes_are_drawn_as_often_as_they_were_counted():
    counts = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 5.0], [1.0, 1.0, 2.0]])
    rng = partial(Rng, 0, torch.arange(8000))
    codes = Frequencies()(counts, rng())
    for place in range(3):
        share = torch.bincount(codes[:, place], minlength=3) / 8000
        assert torch.allclose(share, counts[place] / counts[place].sum(), atol=0.02)
    codes = Frequencies(uniform=True)(counts, rng())
    assert torch.bincount(codes[:, 0], minlength=3)[:2] / 8000 == pytest.approx(0.5, abs=0.02)
    assert (codes[:, 1] == 2).all()
