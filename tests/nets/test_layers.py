"""Layers whose gradients are written by hand are what they stand for."""

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aigc.core.spec import Spec
from aigc.lab.costs import kernels
from aigc.nets.gradients import Attended, SwiGLU, heads
from aigc.nets.growing import growing
from aigc.nets.layers import RMSNorm, conv
from aigc.nets.transformer import EPS, CausalTransformer, Rotary


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


TORCH = tuple(map(int, torch.__version__.split(".")[:2]))


def pieces(x, weight, q_weight, k_weight, turn, causal):
    """Products, norm, rotation and attention one after the other, as the papers write them."""
    q, k, v = F.linear(x, weight).unflatten(2, (3, -1, len(q_weight))).unbind(2)
    (cos, sin), half = turn[:, :, None], len(q_weight) // 2

    def rotated(x, weight):
        x = F.rms_norm(x, weight.shape, weight, EPS)
        return x * cos + torch.cat([x[..., half:], x[..., :half]], -1) * sin

    q, k, v = (x.transpose(1, 2) for x in (rotated(q, q_weight), rotated(k, k_weight), v))
    with sdpa_kernel(SDPBackend.MATH):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return y.transpose(1, 2).flatten(2)


def alike(given: tuple[torch.Tensor, ...], *made: torch.Tensor) -> None:
    """Values, gradients and gradients of gradients of both are the same but for rounding."""
    g, found = torch.randn_like(made[0]), []
    for y in made:
        once = torch.autograd.grad(y, given, g, retain_graph=True)
        again = torch.autograd.grad(y, given, g, create_graph=True)
        twice = torch.autograd.grad(sum(a.square().sum() for a in again), given)
        found.append((y, *once, *again, *twice))
    for mine, other in zip(*found):
        assert (mine - other).norm() < 2e-5 * other.norm()


@pytest.mark.parametrize("causal", [True, False])
def test_attention_by_hand_has_the_gradients_of_its_pieces(causal: bool):
    torch.manual_seed(0)
    turn, x, weight = Rotary(10, 8).both, torch.randn(2, 10, 24), torch.randn(72, 24) / 5
    given = x, weight, *(torch.rand(8).add(0.5) for _ in "qk")
    for t in given:
        t.requires_grad_()
    alike(given, Attended.apply(*given, turn, EPS, causal), pieces(*given, turn, causal))


def test_rotated_queries_and_keys_know_distances_alone():
    torch.manual_seed(0)
    qkv, one = torch.randn(1, 1, 3, 2, 8).expand(-1, 12, -1, -1, -1), torch.ones(8)
    q, k, v = heads(qkv, one, one, Rotary(12, 8).both, EPS)
    torch.testing.assert_close(q.square().mean(-1), torch.ones(1, 2, 12))
    scores = q @ k.transpose(-1, -2)
    torch.testing.assert_close(scores[..., :-1, :-1], scores[..., 1:, 1:], rtol=1e-4, atol=1e-5)
    assert torch.equal(v, qkv[:, :, 2].transpose(1, 2))
    later = heads(qkv[:, 4:7], one, one, Rotary(12, 8).both[:, 4:7], EPS)
    assert all(torch.equal(a, b[:, :, 4:7]) for a, b in zip(later, (q, k, v)))


def test_swiglu_by_hand_has_the_gradients_of_its_pieces():
    torch.manual_seed(0)
    given = torch.randn(2, 5, 6), torch.randn(16, 6), torch.randn(6, 8)
    for t in given:
        t.requires_grad_()
    gate, value = F.linear(given[0], given[1]).chunk(2, -1)
    alike(given, SwiGLU.apply(*given), F.linear(F.silu(gate) * value, given[2]))


def test_gradients_by_hand_under_autocast_are_those_of_float32_but_for_bf16():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((16,), vocab=7), width=32, depth=2)
    ids, found = torch.randint(7, (8, 16)), []
    for rough in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            logits = net(ids[:, :-1])
        F.cross_entropy(logits.float().flatten(0, 1), ids.flatten()).backward()
        found.append([p.grad for p in net.parameters()])
        net.zero_grad()
    for exact, rough in zip(*found):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.05 * exact.norm()


def test_all_products_of_a_training_step_are_counted():
    width, length, batch, vocab = 32, 16, 4, 7
    net = CausalTransformer(Spec((length,), vocab=vocab), width=width, depth=2)
    with FlopCounterMode(display=False, custom_mapping=kernels()) as counter:
        net(torch.randint(vocab, (batch, length - 1))).sum().backward()
    weights = sum(p.numel() for p in net.blocks.parameters() if p.ndim > 1) + vocab * width
    attention = 7 * 2 * batch * length**2 * width  # two products forward, five backward
    assert counter.get_total_flops() == 6 * batch * length * weights + 2 * attention


def test_training_keeps_little_for_gradients():
    """Queries, keys, and what the gate lets through are made again."""
    net, kept = CausalTransformer(Spec((64,), vocab=7), width=64, depth=1), {}
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.is_floating_point() and (at := x.untyped_storage().data_ptr()) not in own:
            kept[at] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        net(torch.randint(7, (8, 63))).sum()
    rows = sum(x.numel() for x in kept.values()) / (8 * 64 * 64)
    hidden = 2 * 16 * round(64 * 8 / 3 / 16) / 64
    # What three norms and three products read, queries, keys and values, result, gate and value.
    assert rows == pytest.approx(3 + 3 + 3 + 1 + hidden, abs=0.3)


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
        assert net.rows == 1 or TORCH < (2, 14)
        whole = read(ids[: 64 + 1 // net.rows])
        for rows in {-(-n // net.rows) * net.rows for n in (1, 2, 5, 16, 33)}:
            assert torch.equal(read(ids[:rows]), whole[:rows])


def test_a_compiled_network_decodes_as_it_is():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((12,), vocab=7), width=32, depth=1).eval()
    ids = torch.randint(7, (4, 11))

    def read() -> torch.Tensor:
        cache = net.cache(4)
        return torch.cat([net(ids[:, at : at + 1], cache=cache) for at in range(11)], 1)

    with torch.no_grad():
        plain = read()
        net.compile()
        assert torch.equal(read(), plain)


def test_bf16_attends_in_float32_on_a_cpu():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((16,), vocab=7), width=32, depth=1).eval()
    ids = torch.randint(7, (4, 15))
    with torch.no_grad():
        exact = net(ids)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(ids)
    assert F.mse_loss(rough.float(), exact) < 1e-3 * exact.var()


@pytest.mark.parametrize(
    ("small", "big", "kernel"),
    [((5,), (20,), 9), ((4, 3), (8, 6), 3), ((4, 3), (8, 3), 3), ((2, 2, 3), (4, 4, 6), 3),
     ((3, 3), (5, 6), 3)],
)  # fmt: skip
def test_a_growing_convolution_is_that_of_the_enlarged_map(
    small: tuple[int, ...], big: tuple[int, ...], kernel: int
):
    torch.manual_seed(0)
    layer = growing(len(small), 3, 4, kernel).double()
    plain = conv(len(small), 3, 4, kernel).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 3, *small, dtype=torch.float64, requires_grad=True)
    found = []
    for net, y in (
        (layer, layer(x, big)),
        (plain, plain(F.interpolate(x, big, mode="nearest"))),
    ):
        inputs = (x, net.weight, net.bias)
        once = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
        found.append((y, *once, *torch.autograd.grad(once[0].square().sum(), inputs[:2])))
    for mine, other in zip(*found):
        torch.testing.assert_close(mine, other)


def test_a_growing_convolution_gives_a_row_the_same_bits_in_every_batch():
    torch.manual_seed(0)
    layer, x = growing(2, 32, 16), torch.randn(33, 32, 8, 8)
    with torch.no_grad():
        whole = layer(x, (16, 16))
        for rows in (1, 2, 4, 16):
            assert torch.equal(layer(x[:rows], (16, 16)), whole[:rows])
