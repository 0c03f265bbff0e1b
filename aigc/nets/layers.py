"""Layers shared by the networks, written once for every number of spatial axes."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.nets.gradients import RMS, by_hand

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def conv(rank: int, inp: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution over `rank` axes that keeps sizes (rounded up when strided)."""
    if rank not in CONV:
        raise BadInput(f"a convolution over {rank} axes: choose mlp for net/encoder, decoder, ...")
    kind = POINTWISE[rank] if kernel == stride == 1 else CONV[rank]
    return kind(inp, out, kernel, stride, padding=kernel // 2)


class _Pointwise:
    """A convolution of one position, on a CPU as a product of matrices: faster by several times,
    the more so backwards."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        weight = self.weight.flatten(1).expand(len(x), -1, -1)
        return torch.baddbmm(self.bias[:, None], weight, x.flatten(2)).unflatten(2, x.shape[2:])


POINTWISE = {rank: type(f"Pointwise{rank}d", (_Pointwise, kind), {}) for rank, kind in CONV.items()}


def tokens(layer: nn.Module, x: Tensor) -> Tensor:
    """A pointwise convolution of `x (B, inp, *S)` as tokens `(B, positions, out)`, laid out so."""
    x = x.flatten(2)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.linear(x.transpose(1, 2), layer.weight.flatten(1), layer.bias)
    weight = layer.weight.flatten(1).T.expand(len(x), -1, -1)
    return torch.baddbmm(layer.bias, x.transpose(1, 2), weight)


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with groups of at least four channels, at most 32 groups."""
    groups = max(g for g in range(1, min(32, max(channels // 4, 1)) + 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def zero(module: nn.Module) -> nn.Module:
    """Start a residual branch at zero, so that a deep net starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def pyramid(shape: tuple[int, ...], stride: int, floor: int = 4) -> list[tuple[int, ...]]:
    """Spatial sizes from fine to coarse, divided by `stride` while the longest side exceeds
    `floor`."""
    sizes = [tuple(shape)]
    while max(sizes[-1]) > floor:
        sizes.append(tuple(-(-side // stride) for side in sizes[-1]))
    return sizes


def strides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Stride and kernel that suit a size: long sequences shrink fourfold under wide kernels
    (WaveGAN)."""
    return (4, 9) if len(shape) == 1 and shape[0] > 256 else (2, 3)


class RMSNorm(nn.RMSNorm):
    """Root mean square norm over the last axis (Zhang & Sennrich 2019).

    What it gives is `nn.RMSNorm`'s to the bit. Torch has no kernel of its gradient for CPUs, and
    the pieces it is put together from cost nine times that of a layer norm; see `gradients.RMS`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`x (..., width)`."""
        if x.dtype == self.weight.dtype == torch.float32 and by_hand(x):
            return RMS.apply(x, self.weight, self.eps)
        # Under autocast a float32 weight would keep data in bf16 from the one kernel there is.
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def silu(x: Tensor) -> Tensor:
    """SiLU of what nobody else reads: without gradients in place, which spares new memory."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def plus(x: Tensor, branch: Tensor) -> Tensor:
    """`x + branch`, without gradients in the memory of the branch, which nobody else reads."""
    if torch.is_grad_enabled() or x.dtype != branch.dtype:
        return x + branch
    return branch.add_(x)


class TimeEmbedding(nn.Module):
    """Time in [0, 1] to `(B, width)`: sinusoids of 1000 t, then two layers (Ho et al. 2020)."""

    def __init__(self, width: int):
        super().__init__()
        self.frequencies = width // 2
        self.mlp = nn.Sequential(
            nn.Linear(2 * self.frequencies, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        """`t (B,)`."""
        k = torch.arange(self.frequencies, device=t.device, dtype=torch.float32)
        angles = 1000 * t.float()[:, None] * torch.exp(k * (-log(10_000) / self.frequencies))
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=1))


class ClassEmbedding(nn.Module):
    """Label to `(B, width)`; zero without labels, for `y=None` and for a label of -1."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.width = width
        self.table = nn.Embedding(classes, width) if classes else None

    def states(self, y: Tensor | None, like: Tensor) -> None:
        """A label has nothing to attend to, unlike a caption."""

    def forward(self, y: Tensor | None, like: Tensor, states: None = None) -> Tensor:
        """`y (B,)`; `like` gives batch size and device when there is no label."""
        if self.table is None or y is None:
            return like.new_zeros(len(like), self.width)
        return self.table(y.clamp(min=0)) * (y >= 0)[:, None]


class ResBlock(nn.Module):
    """Two convolutions with group norm, scaled and shifted by an embedding if there is one
    (Dhariwal & Nichol 2021)."""

    def __init__(
        self, rank: int, inp: int, out: int, emb: int = 0, kernel: int = 3, dropout: float = 0
    ):
        super().__init__()
        self.norm1, self.conv1 = norm(inp), conv(rank, inp, out, kernel)
        self.emb = nn.Linear(emb, 2 * out) if emb else None
        self.norm2, self.dropout = norm(out), nn.Dropout(dropout)
        self.conv2 = zero(conv(rank, out, out, kernel))
        self.skip = conv(rank, inp, out, 1) if inp != out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """`x (B, inp, *S)`, `emb (B, emb)` to `(B, out, *S)`."""
        h = self.norm2(self.conv1(silu(self.norm1(x))))
        if self.emb is not None:
            scale, shift = self.emb(emb).unflatten(1, (2, -1)).unbind(1)
            shape = (*scale.shape, *[1] * (x.ndim - 2))
            h = torch.addcmul(shift.view(shape), h, 1 + scale.view(shape))
        return plus(self.skip(x), self.conv2(self.dropout(silu(h))))


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Scaled dot-product attention `(B, heads, T, d)`; on a CPU in float32 under autocast too,
    since there the gradient of it takes longer in bf16."""
    if q.device.type == "cpu":
        q, k, v = q.float(), k.float(), v.float()
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


class SelfAttention(nn.Module):
    """Attention over all positions of a feature map, and over the states of a caption if it has
    any (`context` wide); heads of 32 channels."""

    def __init__(self, rank: int, channels: int, context: int = 0):
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm = norm(channels)
        self.qkv = conv(rank, channels, 3 * channels, 1)
        self.context = nn.Linear(context, 2 * channels) if context else None
        self.out = zero(conv(rank, channels, channels, 1))

    def forward(self, x: Tensor, states: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `states (B, L, context)` to the shape of `x`."""
        qkv = tokens(self.qkv, self.norm(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(2)
        if states is not None:
            both = self.context(states).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
            k, v = torch.cat([k, both[0]], dim=2), torch.cat([v, both[1]], dim=2)
        return plus(x, self.out(attention(q, k, v).transpose(-1, -2).reshape(x.shape)))
