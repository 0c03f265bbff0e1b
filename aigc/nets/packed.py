"""Products of few rows on a CPU by weights that are laid out once, as decoding wants them.

A product of a few rows takes most of its time to lay out the weight, at every call anew.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]


def packable(layers: Iterable[nn.Module]) -> bool:
    """Whether the weights of all layers can be laid out: float32, on a CPU, and nothing else done
    by them than a product."""
    return torch.backends.mkldnn.is_available() and all(
        type(layer) in (nn.Linear, nn.Embedding)
        and getattr(layer, "bias", None) is None
        and (layer.weight.device.type, layer.weight.dtype) == ("cpu", torch.float32)
        for layer in layers
    )


def by(weight: Tensor) -> Product:
    """The product with a float32 weight `(out, inp)` on a CPU, by oneDNN, which torch's compiler
    uses in the same way."""
    laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    product = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: product(x, laid, None, "none", [], "")
