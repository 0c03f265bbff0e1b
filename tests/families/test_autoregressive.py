"""Picks agree with the reference library, and decoding gives what the model says."""

import pytest
import torch
from tables import TableLM, every, log_p

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space, Spec
from aigc.core.views import Tokens
from aigc.families.autoregressive.module import Autoregressive
from aigc.families.autoregressive.processed import Guided, Processed
from aigc.families.autoregressive.sampling import (
    Greedy,
    Request,
    Temperature,
    TopK,
    TopP,
    decode,
)
from aigc.nets.transformer import CausalTransformer

N = 40_000


@pytest.fixture
def logits() -> torch.Tensor:
    return 2 * torch.randn(1, 12, generator=torch.manual_seed(0))


def warped(logits: torch.Tensor, *warpers) -> torch.Tensor:
    for warper in warpers:
        logits = warper(torch.zeros(1, 1, dtype=torch.long), logits)
    return logits.double().softmax(-1)


def test_picks_are_the_warpers_of_transformers(logits: torch.Tensor):
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
        assert torch.allclose(pick.probs(logits), warped(logits, *warpers), atol=1e-6), pick


def test_what_is_drawn_follows_the_law(logits: torch.Tensor):
    pick = TopP(1.3, p=0.8)
    drawn = pick(logits.expand(N, -1), Rng(0, torch.arange(N)))
    found = torch.bincount(drawn, minlength=12) / N
    wanted = pick.probs(logits)[0]
    assert (found - wanted).abs().max() < 0.012
    assert (found[wanted == 0] == 0).all()


GENERATE = [
    {},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 1.4, "top_p": 0.7},
    {"min_p": 0.15},
    {"typical_p": 0.6},
    {"epsilon_cutoff": 0.06},
    {"eta_cutoff": 0.05},
    {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "top_p": 0.9},
]
OURS = {
    "typical_p": "typical",
    "epsilon_cutoff": "epsilon",
    "eta_cutoff": "eta",
    "no_repeat_ngram_size": "no_repeat_ngram",
}


@pytest.mark.parametrize("settings", GENERATE, ids=str)
def test_the_law_at_each_step_is_that_of_generate(gpt2, settings: dict):
    """Along a text that `generate` has drawn, what it drew from is what we draw from."""
    torch.manual_seed(0)
    prompt = torch.randint(1, 15, (4, 3))
    out = gpt2.generate(
        prompt, do_sample=True, max_length=12, output_scores=True, return_dict_in_generate=True,
        **{"top_k": 0, **settings},
    )  # fmt: skip
    pick = Processed(**{OURS.get(k, k): v for k, v in settings.items()})
    for t, scores in enumerate(out.scores, 3):
        ids = out.sequences[:, :t]
        logits = gpt2(ids).logits[:, -1]
        assert torch.allclose(pick.probs(logits, ids), scores.double().softmax(-1), atol=1e-5)


def test_greedy_is_that_of_generate(gpt2):
    from aigc.nets.pretrained import PretrainedLM

    net = PretrainedLM.around(gpt2, Spec((11,), vocab=15))
    prompt = torch.randint(1, 15, (16, 4), generator=torch.manual_seed(1))
    start = torch.full((16, 1), gpt2.config.bos_token_id)
    wanted = gpt2.generate(torch.cat([start, prompt], 1), do_sample=False, max_length=12)[:, 1:]
    request = Request(net, 16, 11, prompt=prompt)
    *_, ids = decode(request, Greedy(), Rng(0, torch.arange(16)))
    assert torch.equal(ids, wanted)


def test_greedy_is_the_mode_and_bad_numbers_are_refused(logits: torch.Tensor):
    assert Greedy()(logits, Rng(0, torch.arange(1))) == logits.argmax()
    with pytest.raises(BadInput, match="above 0"):
        Temperature(0.0)
    with pytest.raises(BadInput, match=r"sampler\.min_p=2"):
        Processed(min_p=2)
    with pytest.raises(BadInput, match=r"sampler\.top_k=0"):
        Processed(top_k=0)


def test_decoding_draws_from_the_model():
    torch.manual_seed(0)
    view = Tokens(Space((2,), (3, 2), ordered=(False, False)))
    net = CausalTransformer(view.spec, width=16, depth=1, heads=2).eval()
    torch.nn.init.normal_(net.tokens.weight, std=1.0)
    request = Request(net, 20_000, 2, allowed=view.allowed)
    *_, ids = decode(request, Temperature(), Rng(0, torch.arange(20_000)))
    found = torch.zeros(3, 2).index_put((ids[:, 0], ids[:, 1]), torch.ones(()), accumulate=True)
    tokens = torch.cartesian_prod(torch.arange(3), torch.arange(2))
    logits = net(tokens[:, :1]).masked_fill(~view.allowed, float("-inf"))
    p = logits.log_softmax(-1).gather(2, tokens[..., None])[..., 0].sum(1).exp().view(3, 2)
    assert (found / 20_000 - p).abs().max() < 0.015


def test_a_prompt_is_kept_and_greedy_continues_it():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((9,), vocab=11), width=16, depth=2, heads=2).eval()
    prompt = torch.randint(0, 11, (3, 4))
    states = list(decode(Request(net, 3, 9, prompt=prompt), Greedy(), Rng(0, torch.arange(3))))
    assert [s.shape[1] for s in states[:5]] == [5, 6, 7, 8, 9]
    ids = states[-1]
    assert torch.equal(ids[:, :4], prompt)
    logits = net(ids[:, :-1])
    assert torch.equal(logits[:, 4:].argmax(-1), ids[:, 4:])


def test_nothing_follows_the_end():
    net = TableLM(3, 5)
    *_, ids = decode(Request(net, 1000, 5, end=2), Temperature(), Rng(0, torch.arange(1000)))
    closed = (ids == 2).cumsum(1) > 0
    assert torch.equal(ids.masked_fill(~closed, 2), torch.full_like(ids, 2))
    assert 0 < closed[:, 0].double().mean() < 1


def family(**settings) -> Autoregressive:
    torch.manual_seed(0)
    facts = {name: settings.pop(name) for name in ("classes", "end") if name in settings}
    view = Tokens(Space((12,), 7, ordered=False, **facts))
    module = Autoregressive(
        causal_lm=lambda spec: CausalTransformer(spec, width=16, depth=2, heads=2),
        view=view,
        **settings,
    )
    for p in module.net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module.eval()


def test_a_sample_depends_on_its_own_prompt_alone():
    """Prompts of other lengths beside it, and the size of the batch, change no bit."""
    module = family()
    generator = torch.manual_seed(1)
    prompts = [torch.randint(0, 7, (i % 5 + 1,), generator=generator) for i in range(40)]
    together, _ = module.sample(40, sampler=Temperature(), prompts=prompts)
    parted, _ = module.sample(40, sampler=Temperature(), prompts=prompts, batch_size=7)
    assert torch.equal(together, parted)
    for i in (0, 13, 39):
        alone, _ = module.sample(1, sampler=Temperature(), prompts=[prompts[i]], start=i)
        assert torch.equal(alone[0], together[i])
        assert torch.equal(alone[0, : len(prompts[i])], prompts[i])
    with pytest.raises(BadInput, match="12 tokens, the window 12"):
        module.sample(1, sampler=Temperature(), prompts=[torch.zeros(12, dtype=torch.long)])


def test_guidance_is_the_power_law_of_the_class():
    """Two classes and none: `p(x) (p(x | y) / p(x)) ** s`, step by step."""
    net, scale = TableLM(4, 3, classes=3), 2.5
    guided, ids, y = Guided(net, null=2, scale=scale), every(4, 3), torch.tensor([1]).expand(64)
    given = net(ids[:, :2], y).log_softmax(-1)
    free = net(ids[:, :2], y + 1).log_softmax(-1)
    wanted = ((1 - scale) * free + scale * given).softmax(-1)
    assert torch.allclose(guided(ids[:, :2], y).softmax(-1), wanted)
    law = wanted.gather(2, ids[..., None])[..., 0].prod(1)
    request = Request(guided, 20_000, 3, y=torch.ones(20_000, dtype=torch.long))
    *_, drawn = decode(request, Processed(), Rng(0, torch.arange(20_000)))
    found = torch.bincount(net.node(drawn) - net.node(ids[:1]), minlength=64) / 20_000
    assert (found - law).abs().max() < 0.015


def test_a_hidden_label_makes_guidance_possible():
    module = family(classes=3, label_dropout=0.5).train()
    assert module.net.start.weight.shape[0] == 4
    x, y = torch.randint(0, 7, (64, 12)), torch.randint(0, 3, (64,))
    module.loss(x, y).value.backward()
    assert (module.net.start.weight.grad.abs().sum(1) > 0).all()  # every class and none
    module.eval()
    plain, _ = module.sample(16, 1, sampler=Processed())
    guided, _ = module.sample(16, 1, sampler=Processed(guidance=3.0))
    assert not torch.equal(plain, guided)
    with pytest.raises(BadInput, match="label_dropout"):
        family(classes=3).sample(1, sampler=Processed(guidance=2.0))
    with pytest.raises(BadInput, match="no classes"):
        family(label_dropout=0.1)


def test_the_table_is_a_language_model():
    """The tool of these tests: its probabilities sum to one, cached or not."""
    net, ids = TableLM(3, 4), every(3, 4)
    assert log_p(net, ids).exp().sum() == pytest.approx(1)
    cache = net.cache(len(ids))
    parts = [net(ids[:, :2], None, cache), net(ids[:, 2:3], None, cache)]
    assert torch.equal(torch.cat(parts, 1), net(ids[:, :3]))


def pairs() -> tuple[Autoregressive, torch.Tensor]:
    """A model of pairs closed by token 6, and examples: prompt, 6, completion, 6, 6 ..."""
    module = family(end=6)
    generator = torch.manual_seed(2)
    x = torch.full((40, 12), 6)
    for row in x:
        a, b = torch.randint(1, 4, (2,), generator=generator).tolist()
        row[:a] = torch.randint(0, 6, (a,), generator=generator)
        row[a + 1 : a + 1 + b] = torch.randint(0, 6, (b,), generator=generator)
    return module, x


def test_of_a_pair_the_completion_alone_is_learned():
    module, x = pairs()
    nats = -module.net(x[:, :-1]).log_softmax(-1).gather(2, x[..., None])[..., 0]
    wanted, count = torch.zeros(40), 0
    for i, row in enumerate(x.tolist()):
        first = row.index(6)
        second = row.index(6, first + 1)
        wanted[i] = nats[i, first + 1 : second + 1].sum()
        count += second - first
    assert torch.allclose(module.nats(x, None), wanted, atol=1e-4)
    assert torch.allclose(module.loss(x, None).value, wanted.sum() / count)


def test_pairs_are_sampled_after_prompts_of_the_training_data():
    module, x = pairs()
    module.observe(x, None)
    ids, _ = module.sample(50, sampler=Temperature())
    prompts = {tuple(row[: row.index(6)]) for row in x.tolist()}
    found = {tuple(row[: row.index(6)]) for row in ids.tolist()}
    assert found <= prompts and len(found) > 5
    for row in ids.tolist():  # nothing follows the end of a completion
        rest = row[row.index(6) + 1 :]
        assert 6 not in rest or set(rest[rest.index(6) :]) == {6}
