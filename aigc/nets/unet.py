"""A U-Net over any number of axes: residual blocks, attention where the map is small, skips."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.growing import growing
from aigc.nets.layers import (
    ResBlock,
    SelfAttention,
    TimeEmbedding,
    conv,
    norm,
    pyramid,
    silu,
    strides,
    zero,
)


class UNet(nn.Module):
    """Denoiser role: `(x, t, y) -> like x` (Ronneberger et al. 2015, Ho et al. 2020).

    `mults` are the channel factors from fine to coarse, at most as many as the size allows;
    attention runs where a map has at most `attend` positions, over the caption too if there is one.
    With `outputs=2` it emits two maps for each channel, `(B, 2 C, *S)`, the first of all channels
    before the second.
    """

    def __init__(
        self,
        spec: Spec,
        width: int = 32,
        depth: int = 1,
        mults: tuple[int, ...] = (1, 2, 4),
        attend: int = 64,
        dropout: float = 0.0,
        outputs: int = 1,
    ):
        super().__init__()
        stride, kernel = strides(spec.shape[1:])
        self.sizes = pyramid(spec.shape[1:], stride, floor=2)[: len(mults)]
        channels = [width * m for m in mults[: len(self.sizes)]]
        emb, rank = 4 * width, spec.rank
        context = emb if spec.caption else 0
        self.time, self.label = TimeEmbedding(emb), condition(spec, emb)

        def block(inp: int, out: int, level: int) -> nn.ModuleList:
            attention = prod(self.sizes[level]) <= attend
            layers = [ResBlock(rank, inp, out, emb, kernel, dropout)]
            return nn.ModuleList(layers + [SelfAttention(rank, out, context)] * attention)

        self.inp = conv(rank, spec.shape[0], channels[0], kernel)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        skips, c = [channels[0]], channels[0]
        for i, out in enumerate(channels):
            self.down.append(
                nn.ModuleList(block(c if k == 0 else out, out, i) for k in range(depth))
            )
            c = out
            skips += [out] * depth
            if i + 1 < len(channels):
                self.shrink.append(conv(rank, c, c, kernel, stride))
                skips.append(c)
        self.middle = block(c, c, len(channels) - 1)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i, out in reversed(list(enumerate(channels))):
            level = nn.ModuleList()
            for _ in range(depth + 1):
                level.append(block(c + skips.pop(), out, i))
                c = out
            self.up.append(level)
            if i:
                self.grow.append(growing(rank, c, c, kernel))
        self.norm = norm(c)
        self.out = zero(conv(rank, c, outputs * spec.shape[0], kernel))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """`x (B, C, *S)`, `t (B,)` in [0, 1], `y (B,)`."""
        emb = self.time(t)
        states = self.label.states(y, emb)
        emb = F.silu(emb + self.label(y, emb, states))
        h = self.inp(x)
        skips = [h]
        for i, level in enumerate(self.down):
            for block in level:
                h = _run(block, h, emb, states)
                skips.append(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)
                skips.append(h)
        h = _run(self.middle, h, emb, states)
        for i, level in enumerate(self.up):
            for block in level:
                h = _run(block, torch.cat([h, skips.pop()], dim=1), emb, states)
            if i < len(self.grow):
                size = self.sizes[len(self.sizes) - 2 - i]
                h = self.grow[i](h, size)
        return self.out(silu(self.norm(h)))


def _run(block: nn.ModuleList, h: Tensor, emb: Tensor, states: Tensor | None) -> Tensor:
    h = block[0](h, emb)
    return block[1](h, states) if len(block) > 1 else h
