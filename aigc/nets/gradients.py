"""Operations whose gradients are written by hand, since those of their pieces cost several times
as much on a CPU. Each is what its pieces give, and so are gradients of gradients.
"""

import torch
from torch.nn import functional as F


class RMS(torch.autograd.Function):
    """`F.rms_norm` of float32 on a CPU: its gradient is that of a layer norm whose mean is 0,
    without the share that the mean would have taken."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        y, scale = torch.ops.aten._fused_rms_norm(x, weight.shape, weight, eps)
        ctx.save_for_backward(x, weight, scale)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx, g):
        """Of `x` and `weight`."""
        x, weight, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            wanted = [t for t in (x, weight) if t.requires_grad]
            y = F.rms_norm(x, weight.shape, weight, ctx.eps)
            found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
            return *(next(found) if t.requires_grad else None for t in (x, weight)), None
        zero, mask = torch.zeros_like(scale), [True, True, False]
        kernel = torch.ops.aten.native_layer_norm_backward
        gx, gw, _ = kernel(g, x, weight.shape, zero, scale, weight, None, mask)
        with torch.autocast("cpu", enabled=False):
            share = (g @ weight).unsqueeze(-1) / weight.numel()
        return gx.addcmul_(share, scale), gw, None


class Turned(torch.autograd.Function):
    """The rotation in place of its pieces; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        out = torch.empty_like(x)
        (a, b), (c, d) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
        torch.mul(a, cos, out=c).sub_(b * sin)
        torch.mul(a, sin, out=d).add_(b * cos)
        return out

    @staticmethod
    def backward(ctx, g):
        """Of `x`."""
        cos, sin = ctx.saved_tensors
        return Turned.apply(g, cos, -sin), None, None


class Gated(torch.autograd.Function):
    """`silu(gate) * value` that keeps its input alone and writes both gradients into one tensor."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate).mul_(value)

    @staticmethod
    def backward(ctx, g):
        """Of `x`."""
        (x,) = ctx.saved_tensors
        gate, value = x.chunk(2, dim=-1)
        if torch.is_grad_enabled():  # gradients of gradients
            found = torch.autograd.grad(F.silu(gate) * value, x, g, create_graph=True)
            return found[0]
        out = torch.empty_like(x)
        for_gate, for_value = out.chunk(2, dim=-1)
        torch.mul(g, F.silu(gate), out=for_value)
        torch.ops.aten.silu_backward.grad_input(g * value, gate, grad_input=for_gate)
        return out
