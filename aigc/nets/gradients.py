"""Operations whose gradients are written by hand, since those of their pieces cost several times
as much on a CPU. Each is what its pieces give, and so are gradients of gradients.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

aten = torch.ops.aten


def by_hand(x: Tensor, *layers: nn.Module) -> bool:
    """Whether gradients by hand serve `x` and what `layers` do: products in float32 or bf16 on a
    CPU, and one is wanted."""
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel()
    own = all(type(layer) is nn.Linear and layer.bias is None for layer in layers)
    return bool(plain and own and torch.is_grad_enabled() and not torch.compiler.is_compiling())


def as_products(x: Tensor) -> Tensor:
    """In the precision that products of `x` are taken in on a CPU."""
    return x.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else x


class RMS(torch.autograd.Function):
    """`F.rms_norm` of float32 on a CPU."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        y, scale = aten._fused_rms_norm(x, weight.shape, weight, eps)
        ctx.save_for_backward(x, weight, scale)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx, g):
        """Of `x` and `weight`."""
        x, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            return *again(F.rms_norm(x, weight.shape, weight, ctx.eps), g, x, weight), None
        with torch.autocast("cpu", enabled=False):
            return *normed(g, x, scale, weight), None


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """`x (B, T, heads, d)` by `turn (2, T, d)`: cosines, and sines that are negative in their first
    half. They are repeated for all heads, since a CPU is slow to go through short rows."""
    cos, sin = (t[:, None].expand(-1, x.shape[2], -1).contiguous() for t in turn)
    return (x * cos).addcmul_(flip(x), sin)


def turned(x: Tensor, weight: Tensor, turn: Tensor, scale: Tensor) -> Tensor:
    """Queries or keys times `weight (d,)` and `scale (B, T, heads, 1)`, rotated. The weight goes
    into the rotation, and the scale comes last, in place."""
    weight = weight.float()
    return rotated(x, torch.stack([turn[0] * weight, turn[1] * flip(weight)])).mul_(scale)


def flip(x: Tensor) -> Tensor:
    """Both halves of the last axis in the other's place."""
    return torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)


def rms(x: Tensor, eps: float) -> Tensor:
    """One over the root mean square of the last axis, `(..., 1)`, in float32."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (length.square() / x.shape[-1] + eps).rsqrt()


def heads(
    qkv: Tensor, q_weight: Tensor, k_weight: Tensor, turn: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys normed and rotated, and values, each `(B, heads, T, d)`, of `qkv (B, T, 3,
    heads, d)`; in float32 on a CPU."""
    if qkv.device.type == "cpu":
        qkv = qkv.float()
    q, k, v = qkv.unbind(2)
    q, k = (turned(x, w, turn, rms(x, eps)) for x, w in ((q, q_weight), (k, k_weight)))
    return tuple(x.to(v.dtype).transpose(1, 2) for x in (q, k, v))


class Attended(torch.autograd.Function):
    """Queries, keys and values of `x (B, T, width)` by `weight (3 width, width)`, and attention of
    all heads on a CPU, `(B, T, width)`. Products are in the precision of `x`.

    Queries, keys and values are products of their own, since what goes through rows of one tensor
    in parts takes twice as long. Rotated queries and keys are made again for the gradient.
    """

    @staticmethod
    def forward(ctx, x, weight, q_weight, k_weight, turn, eps, causal):
        ctx.causal, ctx.eps = causal, eps
        with torch.autocast("cpu", enabled=False):
            shape = *x.shape[:2], -1, len(q_weight)
            made = [F.linear(x, w).view(shape) for w in weight.to(x.dtype).chunk(3)]
            scales = [rms(t, eps) for t in made[:2]]
            q, k, v = ready(made, q_weight, k_weight, turn, scales)
            out, total = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
        out = out.transpose(1, 2).to(x.dtype)
        ctx.save_for_backward(x, weight, q_weight, k_weight, turn, *made, *scales, out, total)
        return out.flatten(2)

    @staticmethod
    def backward(ctx, g):
        """Of `x` and of the three weights."""
        x, weight, q_weight, k_weight, turn, *made, out, total = ctx.saved_tensors
        made, scales = made[:3], made[3:]
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():  # gradients of gradients
                given = x, weight, q_weight, k_weight
                with sdpa_kernel(SDPBackend.MATH):
                    qkv = F.linear(x, weight.to(x.dtype)).unflatten(2, (3, *out.shape[2:]))
                    q, k, v = heads(qkv, q_weight, k_weight, turn, ctx.eps)
                    y = F.scaled_dot_product_attention(q, k, v, is_causal=ctx.causal)
                y = y.transpose(1, 2).flatten(2).to(g.dtype)
                return *again(y, g, *given), None, None, None
            q, k, v = ready(made, q_weight, k_weight, turn, scales)
            g, out = (t.float().transpose(1, 2) for t in (g.reshape(out.shape), out))
            kernel = aten._scaled_dot_product_flash_attention_for_cpu_backward
            found = kernel(g, q, k, v, out, total, 0.0, ctx.causal)
            found, weights = [t.transpose(1, 2) for t in found], []
            back = torch.stack([turn[0], -turn[1]])
            for i, w in enumerate((q_weight, k_weight)):
                gy = rotated(found[i], back)
                found[i], gw = normed(gy, made[i].float(), scales[i], w.float())
                weights.append(gw.to(w.dtype))
            gx, gw = products(found, x, weight)
        return gx, gw, *weights, None, None, None


def ready(
    made: list[Tensor], q_weight: Tensor, k_weight: Tensor, turn: Tensor, scales: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """What attention takes, `(B, heads, T, d)` in float32, of queries, keys and values `(B, T,
    heads, d)`."""
    q, k, v = (t.float() for t in made)
    q, k = turned(q, q_weight, turn, scales[0]), turned(k, k_weight, turn, scales[1])
    return tuple(t.transpose(1, 2) for t in (q, k, v))


def products(found: list[Tensor], x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `x (..., inp)` and `weight (out, inp)`, from those of the parts of their
    product."""
    rows, gw, gx = x.flatten(0, -2), torch.empty_like(weight, dtype=x.dtype), None
    for g, w, part in zip(found, weight.to(x.dtype).chunk(len(found)), gw.chunk(len(found))):
        g = g.to(x.dtype).reshape(len(rows), -1)
        torch.mm(g.T, rows, out=part)
        gx = g @ w if gx is None else gx.addmm_(g, w)
    return gx.view(x.shape), gw.to(weight.dtype)


class SwiGLU(torch.autograd.Function):
    """`(silu(x @ gate) * (x @ value)) @ down` on a CPU, for `up (2 hidden, width)`, gate and value,
    and `down (width, hidden)`; products in the precision of `x`. What the gate lets through is made
    again for the gradient."""

    @staticmethod
    def forward(ctx, x, up, down):
        with torch.autocast("cpu", enabled=False):
            gate, value = (F.linear(x, w) for w in up.to(x.dtype).chunk(2))
            ctx.save_for_backward(x, up, down, gate, value)
            return F.linear(F.silu(gate).mul_(value), down.to(x.dtype))

    @staticmethod
    def backward(ctx, g):
        """Of `x` and of both weights."""
        x, up, down, gate, value = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():  # gradients of gradients
                gate, value = F.linear(x, up.to(x.dtype)).chunk(2, dim=-1)
                y = F.linear(F.silu(gate) * value, down.to(x.dtype))
                return again(y, g, x, up, down)
            opened = F.silu(gate)
            gw = g.flatten(0, -2).T @ (opened * value).flatten(0, -2)
            g = g @ down.to(g.dtype)
            found = [aten.silu_backward(g * value, gate), opened.mul_(g)]
            gx, gup = products(found, x, up)
        return gx, gup, gw.to(down.dtype)


def again(y: Tensor, g: Tensor, *given: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of `y` for those of `given` that want one, which have gradients themselves."""
    wanted = [t for t in given if t.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    return tuple(next(found) if t.requires_grad else None for t in given)


def normed(g: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `x * scale * weight`, `scale` one over the root mean square of `x`: those of a
    layer norm whose mean is 0, without the share that the mean would have taken."""
    kernel, zero = aten.native_layer_norm_backward, torch.zeros_like(scale)
    gx, gw, _ = kernel(g, x, weight.shape, zero, scale, weight, None, [True, True, False])
    share = (g @ weight).unsqueeze(-1) * scale / weight.numel()
    return gx.add_(share), gw
