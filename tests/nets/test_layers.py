"""Layers whose gradients are written by hand are what they stand for."""

import pytest
import torch
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.gradients import Gated
from aigc.nets.layers import RMSNorm
from aigc.nets.transformer import CausalTransformer, Rotary


def test_rms_norm_is_torchs_and_its_gradient_too():
    torch.manual_seed(0)
    whole = torch.randn(4, 6, 3, 48)
    x, w, g = whole[:, :, 1].requires_grad_(), torch.rand(48) + 0.5, torch.randn(4, 6, 48)
    ours, theirs = RMSNorm(48), torch.nn.RMSNorm(48)
    for norm in (ours, theirs):
        norm.weight.data.copy_(w)
    a, b = ours(x), theirs(x)
    assert torch.equal(a, b)
    for mine, other in zip(*(torch.autograd.grad(y, (x, n.weight), g) for y, n in
                             ((a, ours), (b, theirs)))):  # fmt: skip
        torch.testing.assert_close(mine, other, rtol=2e-5, atol=2e-6)


def test_gradients_of_its_gradients():
    torch.manual_seed(0)
    x = torch.randn(3, 8, requires_grad=True)
    found = []
    for norm in (RMSNorm(8), torch.nn.RMSNorm(8)):
        (g,) = torch.autograd.grad(norm(x).square().sum() + norm(x).exp().sum(), x,
                                   create_graph=True)  # fmt: skip
        found.append(torch.autograd.grad(g.square().sum(), [x, norm.weight]))
    for mine, other in zip(*found):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_rotation_keeps_lengths_and_turns_back():
    torch.manual_seed(0)
    turn, x = Rotary(10, 8), torch.randn(2, 10, 3, 8, dtype=torch.float32, requires_grad=True)
    y, g = turn(x, 0), torch.randn(2, 10, 3, 8)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    (back,) = torch.autograd.grad(y, x, g)
    torch.testing.assert_close(turn(back, 0), g)
    assert torch.equal(turn(x[:, 4:7], 4), y[:, 4:7])
    with torch.no_grad():
        assert torch.equal(turn(x, 0), y)
    a, b = x.chunk(2, -1)
    cos, sin = turn.cos[:, None], turn.sin[:, None]
    assert torch.equal(y, torch.cat([a * cos - b * sin, a * sin + b * cos], -1))


def test_the_gate_has_the_gradient_of_its_pieces():
    torch.manual_seed(0)
    x = torch.randn(5, 16, requires_grad=True)
    gate, value = x.chunk(2, -1)
    g, found = torch.randn(5, 8), []
    for y in (Gated.apply(x), F.silu(gate) * value):
        (once,) = torch.autograd.grad(y, x, g, retain_graph=True)
        (again,) = torch.autograd.grad(y, x, g, create_graph=True)
        found.append((y, once, *torch.autograd.grad(again.square().sum(), x)))
    for mine, other in zip(*found):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("new", [1, 3])
def test_a_cache_gives_what_reading_from_the_start_gives(new: int):
    torch.manual_seed(0)
    net = CausalTransformer(Spec((12,), vocab=7), width=32, depth=2).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.3)
    ids = torch.randint(7, (16, 11))
    with torch.no_grad():
        whole, cache = net(ids), net.cache(16)
        parts = [net(ids[:, :2], cache=cache)]
        parts += [net(ids[:, at : at + new], cache=cache) for at in range(2, 11, new)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("width", "heads"), [(48, 3), (192, 6), (20, 2)])
def test_a_row_has_the_same_bits_in_every_batch(width: int, heads: int):
    torch.manual_seed(0)
    net = CausalTransformer(Spec((40,), vocab=7), width=width, depth=2, heads=heads).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=width**-0.5)
    ids = torch.randint(7, (65, 39))

    def read(ids: torch.Tensor) -> torch.Tensor:
        cache = net.cache(len(ids))
        parts = [net(ids[:, :9], cache=cache)]
        parts += [net(ids[:, at : at + 1], cache=cache) for at in range(9, 39)]
        return torch.cat(parts, 1)

    with torch.no_grad():
        assert net.rows == 1
        whole = read(ids)
        for rows in (1, 2, 5, 16, 33):
            assert torch.equal(read(ids[:rows]), whole[:rows])


def test_bf16_attends_in_float32_on_a_cpu():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((16,), vocab=7), width=32, depth=1).eval()
    ids = torch.randint(7, (4, 15))
    with torch.no_grad():
        exact = net(ids)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(ids)
    assert F.mse_loss(rough.float(), exact) < 1e-3 * exact.var()
