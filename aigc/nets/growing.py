"""A map enlarged and convolved in one."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.nets.layers import CONV

TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class _Growing:
    """A convolution of a map that is first repeated to a size by nearest neighbours.

    Where repeats are whole it is, on a CPU, one transposed convolution, whose kernel sums the
    weights that meet the same position: of doubled pictures 4 products a weight instead of 9, and
    no copies (Karras et al. 2018, "Progressive growing of GANs", whose code has a fused scale).
    """

    def forward(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """`x (B, inp, *S)` to `(B, out, *size)`."""
        if x.device.type != "cpu" or any(big % small for big, small in zip(size, x.shape[2:])):
            return super().forward(F.interpolate(x, size, mode="nearest"))
        repeats = [big // small for big, small in zip(size, x.shape[2:])]
        weight = self.weight
        with torch.autocast("cpu", enabled=False):
            for k, n in zip(self.kernel_size, repeats):
                band = weight.new_ones(k, k + n - 1).tril(n - 1).triu().flip(0)
                weight = torch.tensordot(weight, band, dims=([2], [0]))
        transposed, weight = TRANSPOSED[len(size)], weight.transpose(0, 1)
        return transposed(x, weight, self.bias, repeats, self.padding)


GROWING = {rank: type(f"Growing{rank}d", (_Growing, kind), {}) for rank, kind in CONV.items()}


def growing(rank: int, inp: int, out: int, kernel: int = 3) -> nn.Module:
    """A convolution over `rank` axes whose call `(x, size)` enlarges `x` first."""
    return GROWING[rank](inp, out, kernel, padding=kernel // 2)
