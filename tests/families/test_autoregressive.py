"""Picks agree with the reference library, and decoding gives what the model says."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space, Spec
from aigc.core.views import Tokens
from aigc.families.autoregressive.sampling import Greedy, Temperature, TopK, TopP, decode
from aigc.nets.transformer import CausalTransformer

N = 40_000


def frequencies(pick, logits: torch.Tensor) -> torch.Tensor:
    drawn = pick(logits.expand(N, -1), Rng(0, torch.arange(N)))
    return torch.bincount(drawn, minlength=logits.shape[-1]) / N


@pytest.fixture
def logits() -> torch.Tensor:
    return 2 * torch.randn(1, 12, generator=torch.manual_seed(0))


def reference(logits: torch.Tensor, *warpers) -> torch.Tensor:
    for warper in warpers:
        logits = warper(torch.zeros(1, 1, dtype=torch.long), logits)
    return logits.softmax(-1)[0]


def test_picks_follow_the_warpers_of_transformers(logits: torch.Tensor):
    from transformers.generation.logits_process import (
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    cases = [
        (Temperature(0.7), [TemperatureLogitsWarper(0.7)]),
        (TopK(0.7, k=4), [TemperatureLogitsWarper(0.7), TopKLogitsWarper(4)]),
        (TopP(1.3, p=0.8), [TemperatureLogitsWarper(1.3), TopPLogitsWarper(0.8)]),
    ]
    for pick, warpers in cases:
        wanted = reference(logits, *warpers)
        found = frequencies(pick, logits)
        assert (found - wanted).abs().max() < 0.012, pick
        assert (found[wanted == 0] == 0).all(), pick


def test_greedy_is_the_mode_and_bad_numbers_are_refused(logits: torch.Tensor):
    assert Greedy()(logits, None) == logits.argmax()
    with pytest.raises(BadInput, match="above 0"):
        Temperature(0.0)


def test_decoding_draws_from_the_model():
    torch.manual_seed(0)
    view = Tokens(Space((2,), (3, 2), ordered=(False, False)))
    net = CausalTransformer(view.spec, width=16, depth=1, heads=2).eval()
    torch.nn.init.normal_(net.tokens.weight, std=1.0)
    *_, ids = decode(net, 2, None, Temperature(), Rng(0, torch.arange(20_000)), view.allowed)
    found = torch.zeros(3, 2).index_put((ids[:, 0], ids[:, 1]), torch.ones(()), accumulate=True)
    every = torch.cartesian_prod(torch.arange(3), torch.arange(2))
    logits = net(every[:, :1]).masked_fill(~view.allowed, float("-inf"))
    p = logits.log_softmax(-1).gather(2, every[..., None])[..., 0].sum(1).exp().view(3, 2)
    assert (found / 20_000 - p).abs().max() < 0.015


def test_a_prompt_is_kept_and_greedy_continues_it():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((9,), vocab=11), width=16, depth=2, heads=2).eval()
    prompt = torch.randint(0, 11, (3, 4))
    states = list(decode(net, 9, None, Greedy(), Rng(0, torch.arange(3)), prompt=prompt))
    assert [s.shape[1] for s in states] == [5, 6, 7, 8, 9]
    ids = states[-1]
    assert torch.equal(ids[:, :4], prompt)
    logits = net(ids[:, :-1])
    assert torch.equal(logits[:, 4:].argmax(-1), ids[:, 4:])
