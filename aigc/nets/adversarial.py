"""Layers of generators and critics: what enters, what leaves, and what looks at a whole batch."""

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Spec
from aigc.nets.condition import condition
from aigc.nets.layers import pyramid


def levels(spec: Spec, stride: int, floor: int = 4) -> list[tuple[int, ...]]:
    """Spatial sizes from fine to coarse; BadInput for a row of a table, which has none."""
    if not spec.rank:
        raise BadInput("a convolutional network needs sound, text or pictures, not rows of a table")
    return pyramid(spec.shape[1:], stride, floor)


class Entry(nn.Module):
    """`(z, y) -> (B, out)`: one linear layer of the latent and one of the label, added."""

    def __init__(self, spec: Spec, latent: int, out: int, width: int = 64):
        super().__init__()
        self.latent, self.label = nn.Linear(latent, out), condition(spec, width)
        given = spec.classes or spec.caption
        self.given = nn.Linear(width, out, bias=False) if given else None

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """`z (B, latent)`, `y (B,)`."""
        h = self.latent(z)
        return h if self.given is None else h + self.given(self.label(y, z))


class Head(nn.Module):
    """`(h, y) -> (B, out)`: a linear layer and the projection of the label on the features (Miyato
    & Koyama 2018)."""

    def __init__(self, spec: Spec, inp: int, out: int, width: int = 64):
        super().__init__()
        self.out, self.label = nn.Linear(inp, out), condition(spec, width)
        given = spec.classes or spec.caption
        self.project = nn.Linear(width, inp, bias=False) if given else None

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        """`h (B, inp)`, `y (B,)`."""
        scores = self.out(h)
        if self.project is None or y is None:
            return scores
        pair = h * self.project(self.label(y, h))
        return scores + pair.sum(1, keepdim=True) / h.shape[1] ** 0.5


class MinibatchStd(nn.Module):
    """One more channel: how much the examples of a group differ, averaged over features (Karras et
    al. 2018, section 3).

    In evaluation it is the average of training, so that a score depends on its own example alone.
    """

    def __init__(self, group: int = 4):
        super().__init__()
        self.group = group
        self.register_buffer("typical", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """`x (B, C, ...)` to `(B, C + 1, ...)`."""
        if self.training:
            spread = group_std(x, self.group)
            self.typical.lerp_(spread.detach().mean().to(self.typical.dtype), 0.05)
        else:
            spread = self.typical.to(x.dtype).expand(len(x))
        shape = (len(x), 1, *x.shape[2:])
        return torch.cat([x, spread.view(-1, *[1] * (x.ndim - 1)).expand(shape)], 1)


def group_std(x: Tensor, group: int) -> Tensor:
    """Standard deviation over each group of examples, averaged over features, `(B,)`; one group
    where the batch does not divide."""
    group = group if len(x) % group == 0 else len(x)
    parts = x.flatten(1).unflatten(0, (group, -1))  # example j belongs to group j mod groups
    return (parts.var(0, unbiased=False) + 1e-8).sqrt().mean(1).repeat(group)


class PhaseShuffle(nn.Module):
    """Shifts each example by up to `n` positions in training, the edge reflected (Donahue et al.
    2019, section 3.3): the critic cannot go by the phase of artefacts."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        """`x (B, C, T)`."""
        n = min(self.n, x.shape[2] - 1) if self.training else 0
        if not n:
            return x
        return reflected_shift(x, torch.randint(-n, n + 1, (len(x),), device=x.device))


def reflected_shift(x: Tensor, shift: Tensor) -> Tensor:
    """`x (B, C, T)` moved right by `shift (B,)`, below T in size, filled by reflection."""
    last = x.shape[2] - 1
    source = (torch.arange(last + 1, device=x.device) - shift[:, None]).abs()
    source = last - (last - source).abs()
    return x.gather(2, source[:, None].expand(x.shape))


def noise_of(z: Tensor, salt: int, *size: int) -> Tensor:
    """Standard normal noise `(B, *size)` that is a function of each latent `z (B, L)` alone, so
    that a sample stays a function of its latent."""
    words = z.detach().float().contiguous().view(torch.int32).long()
    odd = 2 * torch.arange(words.shape[1], device=z.device) + 1
    return Rng(salt, (words * odd * 0x9E3779B1).sum(1)).normal(*size).to(z.dtype)
