"""The autoregressive family as a Lightning module."""

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from aigc.core.rng import Rng
from aigc.families.autoregressive.objective import token_nats
from aigc.families.autoregressive.sampling import Greedy, Pick, Temperature, decode
from aigc.families.base import GenerativeModule, Loss


class Autoregressive(GenerativeModule):
    """Predicts each token from those before it; `causal_lm(spec)` builds the CausalLM role."""

    needs = "tokens"
    roles = ("causal_lm",)
    provides = frozenset({"nats", "samples"})
    samplers = (Greedy, Temperature)
    likelihood = "exact"

    def __init__(self, causal_lm: Callable[..., nn.Module], **common):
        super().__init__(**common)
        self.net = causal_lm(self.view.spec)
        self.register_buffer("allowed", self.view.allowed, persistent=False)

    def loss(self, x: Tensor, y: Tensor | None) -> Loss:
        """Mean nats a token."""
        value = token_nats(self.net, x, y, self.allowed).mean()
        return Loss(value, {"loss": value.detach()})

    def nats(self, x: Tensor, y: Tensor | None) -> Tensor:
        """`-log p(ids | y)`, exact, `(B,)`."""
        return token_nats(self.net, x, y, self.allowed).sum(1)

    def draw(self, n: int, y: Tensor | None, sampler: Pick, rng: Rng) -> Iterator[Tensor]:
        """Growing sequences."""
        yield from decode(self.net, self.view.spec.shape[0], y, sampler, rng, self.allowed)

    @property
    def sampled_net(self) -> nn.Module:
        """The CausalLM: a call a token."""
        return self.net
