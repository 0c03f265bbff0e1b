"""Captions as numbers: bytes of UTF-8 plus one, padded with zeros to a fixed length.

A caption takes the place of a class label: `y (B, L)` instead of `y (B,)`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from aigc.core.errors import BadInput

VOCAB = 257  # 0 pads


def encode(texts: Sequence[str], length: int) -> Tensor:
    """Captions to `(N, length)` int64; BadInput for one that is longer."""
    out = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in zip(out, texts):
        data = text.encode()
        if len(data) > length:
            raise BadInput(f"caption '{text}' has {len(data)} bytes: at most {length}")
        row[: len(data)] = torch.tensor(list(data), dtype=torch.long) + 1
    return out


def decode(y: Tensor) -> list[str]:
    """`(N, L)` to captions."""
    return [bytes(row[row > 0].sub(1).tolist()).decode(errors="replace") for row in y.cpu()]
