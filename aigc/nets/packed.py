"""Products of few rows on a CPU by weights that are laid out once, as decoding wants them.

A product of a few rows takes most of its time to lay out the weight, at every call anew.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Product = Callable[[Tensor], Tensor]


def packable(weight: Tensor) -> bool:
    """Whether `by` takes a weight."""
    here = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return here and weight.dtype == torch.float32


def packed(layer: nn.Module) -> Product:
    """What a linear layer without bias does to float32 `(..., inp)`; any other layer as it is."""
    plain = type(layer) is nn.Linear and layer.bias is None and packable(layer.weight)
    return by(layer.weight) if plain else layer


def by(weight: Tensor) -> Product:
    """The product with a float32 weight `(out, inp)` on a CPU, by oneDNN, which torch's compiler
    uses in the same way."""
    laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, laid, None, "none", [], "")
