"""Operations whose gradients are written by hand, since those of their pieces cost several times
as much on a CPU. Each is what its pieces give, and so are gradients of gradients.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

aten = torch.ops.aten


def by_hand(x: Tensor) -> bool:
    """Whether gradients by hand serve `x`: on a CPU, in float32 or bf16, and one is wanted."""
    plain = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and x.numel()
    return bool(plain and torch.is_grad_enabled() and not torch.compiler.is_compiling())


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


def turns(q_weight: Tensor, k_weight: Tensor, turn: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(T, 2, heads, d)` with the weights of the norms in them: as long as what
    they multiply, since a CPU is slow to go through short rows. `turn (2, T, d)` has cosines, and
    sines that are negative in their first half."""
    weight = torch.stack([q_weight, k_weight]).float().unsqueeze(1)
    cos, sin = turn[:, :, None, None]
    both = cos * weight, sin * flip(weight)
    return tuple(t.expand(-1, -1, heads, -1).contiguous() for t in both)


def ready(qkv: Tensor, cos: Tensor, sin: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys rotated and scaled by `scale (B, T, 2, heads, 1)`, and values, each `(B,
    heads, T, d)`, from `qkv (B, T, 3, heads, d)`; in float32 on a CPU."""
    if qkv.device.type == "cpu":
        qkv = qkv.float()
    x = qkv[:, :, :2]
    y = (x * cos).addcmul_(flip(x), sin).mul_(scale)
    q, k = y.to(qkv.dtype).transpose(1, 3).unbind(2)
    return q, k, qkv[:, :, 2].transpose(1, 2)


def heads(
    qkv: Tensor, q_weight: Tensor, k_weight: Tensor, turn: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys normed and rotated, and values, each `(B, heads, T, d)`, of `qkv (B, T, 3,
    heads, d)`. The norm comes last, since a scale a row is little work."""
    factors = turns(q_weight, k_weight, turn, qkv.shape[3])
    return ready(qkv, *factors, rms(qkv[:, :, :2], eps))


def rms(x: Tensor, eps: float) -> Tensor:
    """One over the root mean square of the last axis, `(..., 1)`, in float32."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (length.square() / x.shape[-1] + eps).rsqrt()


def flip(x: Tensor) -> Tensor:
    """Both halves of the last axis in the other's place."""
    return torch.cat(x.chunk(2, dim=-1)[::-1], dim=-1)


class Attended(torch.autograd.Function):
    """`ready` and attention on a CPU, `(B, T, heads, d)` in the precision of `qkv`. It keeps its
    input and result alone; queries and keys are made again for the gradient."""

    @staticmethod
    def forward(ctx, qkv, q_weight, k_weight, turn, eps, causal):
        with torch.autocast("cpu", enabled=False):
            scale = rms(qkv[:, :, :2], eps)
            q, k, v = ready(qkv, *turns(q_weight, k_weight, turn, qkv.shape[3]), scale)
            out, total = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
        out = out.transpose(1, 2).to(qkv.dtype)
        ctx.save_for_backward(qkv, q_weight, k_weight, turn, out, total, scale)
        ctx.eps, ctx.causal = eps, causal
        return out

    @staticmethod
    def backward(ctx, g):
        """Of `qkv` and of the weights of both norms."""
        qkv, q_weight, k_weight, turn, out, total, scale = ctx.saved_tensors
        n = qkv.shape[3]
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():
                given = qkv, q_weight, k_weight
                with sdpa_kernel(SDPBackend.MATH):
                    q, k, v = heads(*given, turn, ctx.eps)
                    y = F.scaled_dot_product_attention(q, k, v, is_causal=ctx.causal)
                y = y.transpose(1, 2).to(g.dtype)
                return *again(y, g, *given), None, None, None
            q, k, v = ready(qkv, *turns(q_weight, k_weight, turn, n), scale)
            g, out = (t.float().transpose(1, 2) for t in (g, out))
            kernel = aten._scaled_dot_product_flash_attention_for_cpu_backward
            *turned, gv = kernel(g, q, k, v, out, total, 0.0, ctx.causal)
            result, found = torch.empty_like(qkv), []
            result[:, :, 2] = gv.transpose(1, 2)
            cos, sin = (t[:, None].expand(-1, n, -1).contiguous() for t in turn)
            for i, (gy, weight) in enumerate(zip(turned, (q_weight, k_weight))):
                gy, x = gy.transpose(1, 2), qkv[:, :, i].float().contiguous()
                gy = (gy * cos).addcmul_(flip(gy), sin, value=-1)  # turned back
                gx, gw = normed(gy, x, scale[:, :, i].contiguous(), weight.float())
                result[:, :, i] = gx
                found.append(gw.to(weight.dtype))
        return result, *found, None, None, None


class Down(torch.autograd.Function):
    """The product of `silu(gate) * value` with `weight (out, inp)`. It keeps its input `(..., 2
    inp)`, gate and value, alone."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        gate, value = x.chunk(2, dim=-1)
        with torch.autocast("cpu", enabled=False):
            return F.linear(F.silu(gate).mul_(value), weight.to(x.dtype))

    @staticmethod
    def backward(ctx, g):
        """Of `x` and `weight`."""
        x, weight = ctx.saved_tensors
        gate, value = x.chunk(2, dim=-1)
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled():  # gradients of gradients
                return again(F.linear(F.silu(gate) * value, weight.to(x.dtype)), g, x, weight)
            opened = F.silu(gate)
            gw = g.flatten(0, -2).T @ (opened * value).flatten(0, -2)
            g = g @ weight.to(g.dtype)
            out = torch.empty_like(x)
            for_gate, for_value = out.chunk(2, dim=-1)
            torch.mul(g, opened, out=for_value)
            aten.silu_backward.grad_input(g.mul_(value), gate, grad_input=for_gate)
        return out, gw.to(weight.dtype)


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
