"""Networks of generators and critics: the identities behind their layers."""

import pytest
import torch
from test_nets import SPECS, batch, wake
from torch import nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.adversarial import (
    MinibatchStd,
    PhaseShuffle,
    group_std,
    noise_of,
    reflected_shift,
)
from aigc.nets.ctgan import CTGANDecoder, CTGANEncoder
from aigc.nets.resnet import ResNetDecoder, ResNetEncoder
from aigc.nets.spectrogram import SpectrogramDecoder, SpectrogramEncoder
from aigc.nets.strided import StridedDecoder, StridedEncoder, enlarging
from aigc.nets.stylegan import ModulatedConv, StyleDecoder

SOUND = Spec((1, 600), quantum=0.1, classes=2)
ROW = Spec((5,), quantum=(0.1, 2.0, 2.0, 0.1, 2.0), classes=3)
PAIRS = {
    "dcgan": (StridedEncoder, StridedDecoder),
    "sngan": (ResNetEncoder, ResNetDecoder),
    "stylegan": (StridedEncoder, StyleDecoder),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_they_fit_any_size_and_use_every_weight_and_label(pair, spec: Spec):
    check(pair[0](spec, out=1, width=4), pair[1](spec, latent=3, width=4), spec)


def test_those_of_sound_and_of_rows():
    check(SpectrogramEncoder(SOUND, 1, 8), SpectrogramDecoder(SOUND, 3, 8), SOUND)
    wave = {"width": 4, "kernel": 25, "stride": 4}
    encoder = StridedEncoder(SOUND, 1, shuffle=2, **wave)
    check(encoder, StridedDecoder(SOUND, 3, batch_norm=False, **wave), SOUND)
    check(CTGANEncoder(ROW, 1, 16, dropout=0.0), CTGANDecoder(ROW, 3, 16), ROW)
    with pytest.raises(BadInput, match="not rows of a table"):
        StridedDecoder(ROW, 3)


def check(encoder: nn.Module, decoder: nn.Module, spec: Spec) -> None:
    torch.manual_seed(0)
    x, y = batch(spec)
    z = torch.randn(4, 3)
    assert decoder(z, y).shape == x.shape
    assert encoder(x, y).shape == (4, 1)
    for net, inp in ((encoder, x), (decoder, z)):
        wake(net)
        net(inp, y).square().mean().backward()
        assert not [name for name, p in net.named_parameters() if p.grad is None]
        if y is not None:
            net.eval()
            assert not torch.allclose(net(inp, y), net(inp, y.flip(0)))


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_modulated_convolution_is_one_kernel_an_example(rank: int, demodulate: bool):
    torch.manual_seed(0)
    layer = ModulatedConv(rank, 3, 5, 4, demodulate=demodulate).double()
    x = torch.randn(2, 3, *[6] * rank, dtype=torch.float64)
    w = torch.randn(2, 4, dtype=torch.float64)
    conv = {1: F.conv1d, 2: F.conv2d}[rank]
    for one, style, found in zip(x, layer.style(w), layer(x, w)):
        kernel = layer.weight * style.view(1, -1, *[1] * rank)
        if demodulate:
            kernel = kernel / kernel.flatten(1).norm(dim=1).view(-1, 1, *[1] * rank)
        wanted = conv(one[None], kernel, layer.bias, padding=1)[0]
        assert torch.allclose(found, wanted, atol=1e-7)


def test_noise_depends_on_the_latent_alone():
    z = torch.randn(300, 8)
    noise = noise_of(z, 0, 50)
    assert torch.equal(noise_of(z[7:9], 0, 50), noise[7:9])
    assert not torch.equal(noise_of(z, 1, 50), noise)
    assert noise.mean().abs() < 0.03
    assert noise.std() == pytest.approx(1, abs=0.03)
    net = StyleDecoder(Spec((1, 8, 8)), 8, 4, noise=True).eval()
    for name, p in net.named_parameters():
        if name.endswith("strength"):
            nn.init.ones_(p)
    assert torch.allclose(net(z[:4])[2:], net(z[2:4]), atol=1e-5)
    quiet = [p for name, p in net.named_parameters() if name.endswith("strength")]
    loud = net(z[:4])
    for p in quiet:
        nn.init.zeros_(p)
    assert not torch.allclose(net(z[:4]), loud)


def test_the_spread_of_a_batch():
    x = torch.randn(8, 3, 5)
    assert group_std(x[:1].expand(8, -1, -1), 4).max() < 1e-3
    found = group_std(x, 4)
    for k in (0, 1):  # example j is in group j mod 2
        wanted = x[k::2].std(0, unbiased=False).mean()
        assert torch.allclose(found[k::2], wanted.expand(4), atol=1e-4)
    assert torch.allclose(group_std(x[:7], 4), x[:7].std(0, unbiased=False).mean(), atol=1e-4)
    layer = MinibatchStd()
    for _ in range(200):
        out = layer(x)
    assert out.shape == (8, 4, 5)
    assert torch.equal(out[:, :3], x)
    layer.eval()
    assert torch.equal(layer(x)[:1], layer(x[:1]))  # a score is of its own example
    assert layer.typical.item() == pytest.approx(found.mean().item(), rel=1e-3)


def test_phase_shuffle_shifts_and_reflects():
    x = torch.arange(5.0).expand(3, 2, 5)
    found = reflected_shift(x, torch.tensor([0, 2, -1]))
    assert torch.equal(found[0], x[0])
    assert found[1, 0].tolist() == [2, 1, 0, 1, 2]
    assert found[2, 0].tolist() == [1, 2, 3, 4, 3]
    layer = PhaseShuffle(2)
    rows = {tuple(row) for row in layer(torch.arange(5.0).expand(200, 1, 5))[:, 0].tolist()}
    wanted = reflected_shift(torch.arange(5.0).expand(5, 1, 5), torch.arange(-2, 3))[:, 0]
    assert rows == {tuple(row) for row in wanted.tolist()}
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(BadInput, match="shuffle=2"):
        StridedEncoder(Spec((1, 8, 8)), 1, shuffle=2)


@pytest.mark.parametrize("length", [512, 601])
def test_the_head_of_a_spectrogram_inverts_the_transform(length: int):
    torch.manual_seed(0)
    net = SpectrogramDecoder(Spec((2, length)), 3, 8)
    x = torch.randn(3, 2, length)
    spectrum = net.spectrum(x)
    h = torch.stack([spectrum.abs().log(), spectrum.angle() / torch.pi], 1).flatten(1, 3)
    assert h.shape[1:] == net.spectrum.shape
    assert torch.allclose(net.head(h), x, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (4, 2), (25, 4), (9, 4), (2, 2)])
def test_a_transposed_convolution_multiplies_the_size(kernel: int, stride: int):
    assert enlarging(1, 2, 3, kernel, stride)(torch.randn(1, 2, 7)).shape == (1, 3, 7 * stride)


def test_bits_of_a_table_are_drawn_by_their_probability():
    net = CTGANDecoder(Spec((2,), quantum=(2.0, 0.1)), 4, 8).eval()
    net.out.weight.data.zero_()
    net.out.bias.data.fill_(0.5)  # a probability of 1 / (1 + exp(-1))
    x = net(torch.randn(20_000, 4)).tanh()
    assert (x[:, 0] > 0).float().mean() == pytest.approx(0.731, abs=0.01)
    assert (x[:, 0].abs() > 0.9).float().mean() > 0.7  # near a bit
    assert torch.allclose(x[:, 1], torch.tensor(0.5).tanh())
