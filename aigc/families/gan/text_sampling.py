"""How a generator of tokens is sampled."""

from dataclasses import dataclass

from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.families.gan.text_objective import gumbel


@dataclass(frozen=True)
class Tokens:
    """Each token from `softmax(logits / temperature)`; 0 takes the most probable one."""

    temperature: float = 1.0

    def __post_init__(self):
        if self.temperature < 0:
            raise BadInput(f"sampler.temperature={self.temperature}: at least 0")

    def __call__(self, vocab: int, rng: Rng) -> Tensor:
        """What is added to the logits `(B, V)` of one token before the largest is taken."""
        return self.temperature * gumbel(rng.uniform(vocab)).float()
