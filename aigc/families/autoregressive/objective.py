"""Next-token likelihood: `-log p(x) = -sum_t log p(x_t | x_<t)`, exact."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from aigc.core.spec import completion

CausalLM = Callable[..., Tensor]


def mask_logits(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Tokens that cannot occur at a position get no mass; `allowed (T, V)`, logits `(B, T, V)`."""
    return logits if allowed is None else logits.masked_fill(~allowed, float("-inf"))


def token_nats(
    net: CausalLM,
    ids_BT: Tensor,
    y: Tensor | None,
    allowed: Tensor | None = None,
    end: int = -1,
) -> Tensor:
    """`-log p(x_t | x_<t, y)` of each token, `(B, T)`; zero for a prompt and what follows the
    completion's `end`."""
    logits_BTV = mask_logits(net(ids_BT[:, :-1], y), allowed)
    nats = F.cross_entropy(logits_BTV.float().flatten(0, 1), ids_BT.flatten(), reduction="none")
    return nats.view(ids_BT.shape) * completion(ids_BT, end)
