"""The token denoiser sees both sides, and is as large as a language model where it can be."""

import pytest
import torch

from aigc.core.spec import Spec
from aigc.nets.token_denoiser import TokenDenoiser
from aigc.nets.transformer import CausalTransformer


def wake(net: torch.nn.Module) -> None:
    """Give a value to layers that start at zero, so that everything matters."""
    for p in net.parameters():
        if p.abs().sum() == 0:
            torch.nn.init.normal_(p, std=0.3)


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("classes", [0, 3])
def test_what_it_is_told_matters_and_all_of_it_learns(timed: bool, classes: int):
    torch.manual_seed(0)
    net = TokenDenoiser(Spec((7,), vocab=5, classes=classes), 6, timed, width=16, heads=2)
    wake(net)
    ids, t = torch.randint(0, 6, (4, 7)), torch.rand(4)
    y = torch.arange(4) % classes if classes else None
    logits = net(ids, t, y)
    assert logits.shape == (4, 7, 5)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert torch.equal(net(ids, t / 2, y), logits) != timed
    if classes:
        assert not torch.equal(net(ids, t, y.flip(0)), logits)


def test_every_position_sees_every_other():
    torch.manual_seed(0)
    net = TokenDenoiser(Spec((6,), vocab=5), width=16, depth=1, heads=2).eval()
    wake(net)
    ids, t = torch.randint(0, 5, (1, 6)), torch.zeros(1)
    logits = net(ids, t)
    for k in range(6):
        other = ids.clone()
        other[:, k] = (other[:, k] + 1) % 5
        assert ((net(other, t) - logits).abs().amax(-1) > 1e-7).all()


def test_it_has_the_parameters_of_the_causal_transformer_and_a_mask():
    spec = Spec((64,), vocab=256)

    def size(net: torch.nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    masked = TokenDenoiser(spec, states=257, timed=False, width=64, depth=2)
    causal = CausalTransformer(spec, width=64, depth=2)
    assert size(masked) - size(causal) == 64 - 2 * 64  # a mask; no start, and no place for one
