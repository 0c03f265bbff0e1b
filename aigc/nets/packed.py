"""Products of few rows on a CPU by weights that are laid out once, as decoding wants them.

A product of a few rows takes most of its time to lay out the weight, at every call anew.
"""

from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]


def packable(layers: Iterable[nn.Module]) -> bool:
    """Whether the weights of all layers can be laid out: float32, on a CPU, nothing else done by
    them than a product, and a row's result does not depend on its neighbours."""
    return torch.backends.mkldnn.is_available() and all(
        type(layer) in (nn.Linear, nn.Embedding)
        and getattr(layer, "bias", None) is None
        and (layer.weight.device.type, layer.weight.dtype) == ("cpu", torch.float32)
        and steady(*layer.weight.shape, torch.get_num_threads())
        for layer in layers
    )


@cache
def steady(out: int, inp: int, threads: int) -> bool:
    """Whether a row's product with a weight `(out, inp)` has the same bits among few rows and among
    many. oneDNN as of torch 2.14 gives that for all sizes that were tried, as of 2.11 for most."""
    rng = torch.Generator().manual_seed(0)
    weight, x = torch.randn(out, inp, generator=rng), torch.randn(64, inp, generator=rng)
    with torch.no_grad():
        product = by(weight)
        whole = product(x)
        return all(torch.equal(product(x[:n]), whole[:n]) for n in (1, 2, 3, 4, 7, 8, 15, 16, 33))


def by(weight: Tensor) -> Product:
    """The product with a float32 weight `(out, inp)` on a CPU, by oneDNN, which torch's compiler
    uses in the same way."""
    laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    product = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: product(x, laid, None, "none", [], "")
