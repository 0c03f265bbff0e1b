"""What the critic sees all data through: the same random transformations of real and generated
data, so that it cannot learn the few real ones by heart, and the generator does not learn the
transformations.

Data `(B, *shape)` in [-1, 1]; each example is transformed by numbers of its own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput, unknown

Transform = Callable[[Tensor], Tensor]


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number an example, shaped to multiply it."""
    u = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
    return low + (high - low) * u


def colour(x: Tensor) -> Tensor:
    """Brightness, saturation and contrast (Zhao et al. 2020)."""
    x = x + _uniform(x, -0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * _uniform(x, 0.0, 2.0)
    mean = x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1))
    return mean + (x - mean) * _uniform(x, 0.5, 1.5)


def gain(x: Tensor) -> Tensor:
    """Loudness between a half and one and a half."""
    return x * _uniform(x, 0.5, 1.5)


def translation(x: Tensor, reach: float = 0.125) -> Tensor:
    """Moves along every axis by up to an eighth of it; what comes in is zero."""
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        most = round(reach * size)
        shift = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        source = torch.arange(size, device=x.device) - shift
        inside = (source >= 0) & (source < size)
        shape = [len(x)] + [size if a == axis else 1 for a in range(1, x.ndim)]
        x = x.gather(axis, source.clamp(0, size - 1).view(shape).expand_as(x)) * inside.view(shape)
    return x


def cutout(x: Tensor, share: float = 0.5) -> Tensor:
    """Sets a box of half the length of every axis to zero, its centre anywhere (DeVries & Taylor
    2017)."""
    box = torch.ones(len(x), *[1] * (x.ndim - 1), device=x.device, dtype=torch.bool)
    for axis in range(2, x.ndim):
        size = x.shape[axis]
        width = max(1, round(share * size))
        start = torch.randint(0, size, (len(x), 1), device=x.device) - width // 2
        places = torch.arange(size, device=x.device)
        shape = [len(x)] + [size if a == axis else 1 for a in range(1, x.ndim)]
        box = box & ((places >= start) & (places < start + width)).view(shape)
    return x * ~box


def noise(x: Tensor, scale: float = 0.1) -> Tensor:
    """Adds normal noise: hides that real values lie on a lattice and generated ones do not."""
    return x + scale * torch.randn_like(x)


def dropout(x: Tensor, share: float = 0.2) -> Tensor:
    """Sets a random fifth of the features to zero, which says neither of two values."""
    return x * (torch.rand_like(x) >= share)


# By the number of spatial axes: rows of a table, sound and bits of text, pictures, clips.
TRANSFORMS: dict[int, dict[str, Transform]] = {
    0: {"noise": noise, "dropout": dropout},
    1: {"gain": gain, "translation": translation, "cutout": cutout},
    2: {"colour": colour, "translation": translation, "cutout": cutout},
    3: {"colour": colour, "translation": translation, "cutout": cutout},
}


class DiffAugment(nn.Module):
    """Every transformation that suits the data, or those of `policy` by name, each with
    probability `p` (Zhao et al. 2020: 1)."""

    def __init__(self, policy: Sequence[str] | None = None, p: float = 1.0):
        super().__init__()
        if not 0 <= p <= 1:
            raise BadInput(f"model.augment.p={p}: 0 to 1")
        known = {name for group in TRANSFORMS.values() for name in group}
        for name in policy or []:
            if name not in known:
                raise unknown("transformation in model.augment.policy", name, known)
        self.policy = policy
        self.register_buffer("p", torch.tensor(float(p)))

    def forward(self, x: Tensor) -> Tensor:
        """`x (B, *shape)` to the same shape; differentiable in `x`."""
        for transform in self.transforms(x.ndim - 2):
            used = torch.rand(len(x), device=x.device) < self.p
            x = torch.where(used.view(-1, *[1] * (x.ndim - 1)), transform(x), x)
        return x

    def transforms(self, rank: int) -> list[Transform]:
        """Those of `policy` for data of so many axes; BadInput for one of other data."""
        suited = TRANSFORMS[rank]
        for name in self.policy or []:
            if name not in suited:
                raise unknown("transformation of these data in model.augment.policy", name, suited)
        return [suited[name] for name in self.policy or suited]


class ADA(DiffAugment):
    """The probability follows the critic (Karras et al. 2020, section 3.1): it rises while the
    share of real examples that are scored above zero is too large, `E sign(D) > target`, and falls
    otherwise, from 0 to 1 in `examples`."""

    def __init__(
        self,
        policy: Sequence[str] | None = None,
        p: float = 0.0,
        target: float = 0.6,
        examples: int = 50_000,
    ):
        super().__init__(policy, p)
        if examples < 1:
            raise BadInput(f"model.augment.examples={examples}: at least 1")
        self.target, self.examples = target, examples

    @torch.no_grad()
    def update(self, score_real: Tensor) -> None:
        """Move by one batch of scores of real data `(B, 1)`, the same on every device."""
        sure = score_real.sign().float().mean()
        count = torch.tensor(float(len(score_real)), device=sure.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
            torch.distributed.all_reduce(sure)
            sure = sure / torch.distributed.get_world_size()
        step = (sure - self.target).sign() * count / self.examples
        self.p.add_(step).clamp_(0, 1)
