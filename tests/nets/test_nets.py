"""Networks fit any spec, forget nothing, and see no future."""

import pytest
import torch

from aigc.core.spec import Spec
from aigc.nets.conv import ConvDecoder, ConvEncoder
from aigc.nets.layers import pyramid
from aigc.nets.lean import LeanDecoder, LeanEncoder
from aigc.nets.mlp import MLPDecoder, MLPDenoiser, MLPEncoder
from aigc.nets.transformer import CausalTransformer, TransformerDenoiser
from aigc.nets.unet import UNet

SPECS = {
    "picture": Spec((1, 8, 8), quantum=0.1, classes=3),
    "odd picture": Spec((3, 7, 10), quantum=0.1),
    "long sound": Spec((1, 600), quantum=0.1, classes=2),
    "text": Spec((8, 33), quantum=2.0),
}
ROW = Spec((5,), quantum=(0.1,) * 5, classes=3)


def batch(spec: Spec, n: int = 4) -> tuple[torch.Tensor, torch.Tensor | None]:
    y = torch.arange(n) % spec.classes if spec.classes else None
    return torch.randn(n, *spec.shape), y


def wake(net: torch.nn.Module) -> None:
    """Give a value to layers that start at zero, so that gradients reach everything."""
    for p in net.parameters():
        if p.abs().sum() == 0:
            torch.nn.init.normal_(p, std=0.05)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("kind", [UNet, TransformerDenoiser, MLPDenoiser])
def test_denoisers(kind, spec: Spec):
    net = kind(spec, width=16)
    x, y = batch(spec)
    t = torch.rand(4)
    assert net(x, t, y).shape == x.shape
    wake(net)
    net(x, t, y).square().mean().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert not unused
    assert not torch.equal(net(x, t, y), net(x, t / 2, y))
    if y is not None:
        assert not torch.equal(net(x, t, y), net(x, t, y.flip(0)))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize(
    "pair",
    [(ConvEncoder, ConvDecoder), (MLPEncoder, MLPDecoder), (LeanEncoder, LeanDecoder)],
)
def test_encoders_and_decoders(pair, spec: Spec):
    encoder, decoder = pair[0](spec, out=6, width=8), pair[1](spec, latent=3, width=8)
    x, y = batch(spec)
    assert encoder(x, y).shape == (4, 6)
    assert decoder(torch.randn(4, 3), y).shape == x.shape
    (encoder(x, y).sum() + decoder(torch.randn(4, 3), y).sum()).backward()
    for net in (encoder, decoder):
        assert all(p.grad is not None for p in net.parameters())


def test_rows_of_a_table():
    x, y = batch(ROW)
    for net in (MLPDenoiser(ROW, width=16), TransformerDenoiser(ROW, width=16)):
        assert net(x, torch.rand(4), y).shape == x.shape
    assert MLPEncoder(ROW, out=2, width=16)(x, y).shape == (4, 2)


def test_pyramid_reaches_the_floor_and_rounds_up():
    assert pyramid((28, 28), 2) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert pyramid((600,), 4) == [(600,), (150,), (38,), (10,), (3,)]


@pytest.fixture
def language_model() -> CausalTransformer:
    torch.manual_seed(0)
    spec = Spec((12,), vocab=20, classes=3)
    net = CausalTransformer(spec, width=32, depth=2, heads=2).eval()
    torch.nn.init.normal_(net.place, std=0.1)
    return net


def test_a_causal_model_sees_no_future(language_model: CausalTransformer):
    ids = torch.randint(0, 20, (2, 11))
    y = torch.tensor([0, 2])
    logits = language_model(ids, y)
    assert logits.shape == (2, 12, 20)
    for k in range(11):
        changed = ids.clone()
        changed[:, k] = (changed[:, k] + 1) % 20
        other = language_model(changed, y)
        assert torch.equal(other[:, : k + 1], logits[:, : k + 1])
        assert not torch.allclose(other[:, k + 1], logits[:, k + 1])


@pytest.mark.parametrize("steps", [[0, 1, 1, 1, 1, 1], [3, 1, 1], [2, 3], [0, 5]])
def test_the_cache_gives_the_same_logits(language_model: CausalTransformer, steps: list[int]):
    ids = torch.randint(0, 20, (2, 5))
    y = torch.tensor([1, 2])
    whole = language_model(ids, y)
    cache, done, parts = language_model.cache(2), 0, []
    for step in steps:
        parts.append(language_model(ids[:, done : done + step], y, cache))
        done += step
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_labels_matter_to_a_causal_model(language_model: CausalTransformer):
    ids = torch.zeros(3, 4, dtype=torch.long)
    logits = language_model(ids, torch.arange(3))
    assert not torch.allclose(logits[0], logits[1])


def test_patches_are_a_bijection():
    net = TransformerDenoiser(Spec((3, 8, 6), quantum=0.1), width=16, patch=2)
    x = torch.randn(2, 3, 8, 6)
    patches = net._patches(x)
    assert patches.shape == (2, 12, 12)
    assert torch.equal(net._unpatch(patches), x)
