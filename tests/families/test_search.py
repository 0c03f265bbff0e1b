"""Searches against all sequences of a tiny model, against `transformers`, and against counts."""

import pytest
import torch
from tables import TableLM, every, log_p
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Spec
from aigc.families.autoregressive.constrained import Constrained
from aigc.families.autoregressive.contrastive import Contrastive
from aigc.families.autoregressive.processed import Processed
from aigc.families.autoregressive.sampling import Greedy, Request, decode
from aigc.families.autoregressive.search import Beam, DiverseBeam
from aigc.families.autoregressive.speculative import Speculative
from aigc.nets.transformer import CausalTransformer

V, T = 4, 5


def rng(rows: int, seed: int = 0, first: int = 0) -> Rng:
    return Rng(seed, torch.arange(first, first + rows))


def run(search, request: Request, seed: int = 0) -> torch.Tensor:
    *_, ids = search.search(request, rng(request.rows, seed))
    return ids


@pytest.fixture
def net() -> TableLM:
    return TableLM(V, T, seed=3)


def prompts(length: int = 2) -> torch.Tensor:
    return every(V, length)


def best(net, start: int, fits=lambda ids: torch.ones(len(ids), dtype=torch.bool)) -> torch.Tensor:
    """For each beginning of `start` tokens the most probable sequence that `fits`."""
    ids = every(V, T)
    score = log_p(net, ids, start=start).masked_fill(~fits(ids), float("-inf"))
    return ids.view(V**start, -1, T)[torch.arange(V**start), score.view(V**start, -1).argmax(1)]


def test_a_wide_beam_finds_the_best_of_all_sequences(net):
    ids = run(Beam(beams=V**2), Request(net, V**2, T, prompt=prompts()))
    assert torch.equal(ids, best(net, 2))
    assert torch.equal(run(Beam(V**4), Request(net, 1, T)), best(net, 0))


def test_one_beam_is_greedy(net):
    request = Request(net, V**2, T, prompt=prompts())
    *_, greedy = decode(request, Greedy(), rng(V**2))
    assert torch.equal(run(Beam(beams=1), request), greedy)


@pytest.mark.parametrize("end", [None, 5])
@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0])
def test_beam_search_is_that_of_transformers(gpt2, end: int | None, penalty: float):
    from aigc.nets.pretrained import PretrainedLM

    net = PretrainedLM.around(gpt2, Spec((11,), vocab=15))
    prompt = torch.randint(1, 15, (32, 3), generator=torch.manual_seed(2))
    start = torch.full((32, 1), gpt2.config.bos_token_id)
    wanted = gpt2.generate(
        torch.cat([start, prompt], 1), num_beams=3, do_sample=False, max_length=12,
        length_penalty=penalty, eos_token_id=end, pad_token_id=end or 0,
    )[:, 1:]  # fmt: skip
    request = Request(net, 32, 11, prompt=prompt, end=-1 if end is None else end)
    found = run(Beam(beams=3, length_penalty=penalty), request)
    assert torch.equal(found[:, : wanted.shape[1]], wanted)
    if end is not None:
        assert (found[:, 3:] == end).any(1).any()


def test_a_closed_sequence_may_be_the_best(net):
    """With an end, the score is a mean over the tokens up to it: compare with all sequences."""
    ids, end = every(V, T), 3
    closed = (ids == end).cumsum(1) > 0
    whole = ids.masked_fill(closed, end)  # what follows the end counts for nothing
    size = (~closed).sum(1).add(1).clamp(max=T)
    logp = net(ids[:, :-1]).log_softmax(-1).gather(2, whole[..., None])[..., 0]
    score = (logp * (torch.arange(T) < size[:, None])).sum(1)
    for penalty in (0.0, 0.7, 2.0):
        wanted = whole[(score / size**penalty).argmax()]
        found = run(Beam(V**4, penalty), Request(net, 1, T, end=end))
        assert torch.equal(found[0], wanted), penalty


def test_groups_without_diversity_are_beams_and_with_it_part(net):
    request = Request(net, V**2, T, prompt=prompts())
    alike = run(DiverseBeam(groups=3, beams=2, diversity=0.0), request)
    assert torch.equal(alike, run(Beam(beams=2), request))
    apart = run(DiverseBeam(groups=4, beams=1, diversity=1e9), Request(net, 4, T))
    assert (apart.sort(0).values == torch.arange(4)[:, None]).all()  # no token twice in a step


def test_diverse_beams_follow_the_definition(net):
    """Greedy groups: each takes the best of `log p - charge x uses so far`, step by step."""
    charge, groups = 0.8, 3
    found = run(DiverseBeam(groups, beams=1, diversity=charge), Request(net, groups, T))
    wanted = torch.zeros(groups, T, dtype=torch.long)
    for t in range(T):
        used = torch.zeros(V)
        for g in range(groups):
            score = net(wanted[g : g + 1, :t])[0, -1].log_softmax(-1) - charge * used
            wanted[g, t] = score.argmax()
            used[wanted[g, t]] += 1
    assert torch.equal(found, wanted)


WORDS = [[[2]], [[1, 1]], [[0, 3], [3, 0]], [[1, 2], [2, 1]], [[3], [0], [2]], [[2, 2, 2]], []]


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_words_stand_in_the_best_sequence_that_holds_them(net, words: list):
    def holds(ids: torch.Tensor) -> torch.Tensor:
        out = torch.ones(len(ids), dtype=torch.bool)
        for word in words:
            windows = ids[:, 2:].unfold(1, len(word), 1)
            out &= (windows == torch.tensor(word)).all(2).any(1)
        return out

    request = Request(net, V**2, T, prompt=prompts())
    assert torch.equal(run(Constrained(words, beams=V**3), request), best(net, 2, holds))
    for beams in (1, 3):
        assert holds(run(Constrained(words, beams=beams), request)).all()


def test_words_come_before_the_end_and_must_fit(net):
    ids = run(Constrained([[0, 1]], beams=3), Request(net, 1, T, end=3))[0].tolist()
    text = "".join(map(str, ids))
    assert "01" in text.split("3")[0]
    with pytest.raises(BadInput, match="do not fit in 2 tokens"):
        run(Constrained([[0, 1, 0]]), Request(net, 1, T, prompt=torch.zeros(1, 3).long()))
    with pytest.raises(BadInput, match="at least one letter"):
        run(Constrained(["", "x"]), Request(net, 1, T))


def test_contrastive_search_follows_the_definition(net):
    """Without cache or batch: candidates one by one, as the paper's equation 5."""
    k, alpha = 3, 0.6
    wanted = prompts()
    for t in range(2, T):
        nxt = []
        for row in wanted:
            p, tokens = net(row[None])[0, -1].softmax(-1).topk(k)
            if t + 1 == T:
                nxt.append(tokens[0])
                continue
            past = net.states[[int(net.node(row[None, :j])) for j in range(t + 1)]]
            state = [net.states[net.node(torch.cat([row, v[None]])[None])[0]] for v in tokens]
            near = [F.cosine_similarity(past, s[None]).max() for s in state]
            nxt.append(tokens[((1 - alpha) * p - alpha * torch.stack(near)).argmax()])
        wanted = torch.cat([wanted, torch.stack(nxt)[:, None]], 1)
    request = Request(net, V**2, T, prompt=prompts())
    assert torch.equal(run(Contrastive(k, alpha), request), wanted)
    *_, greedy = decode(request, Greedy(), rng(V**2))
    assert torch.equal(run(Contrastive(k, 0.0), request), greedy)
    assert not torch.equal(wanted, greedy)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.6, "top_k": 2}], ids=str)
def test_a_draft_does_not_change_the_law(settings: dict):
    net, draft, rows = TableLM(3, 3, seed=1), TableLM(3, 3, seed=2), 40_000
    sampler = Speculative(draft, ahead=2, **settings)
    ids = run(sampler, Request(net, rows, 3))
    found = torch.bincount(net.node(ids) - net.node(every(3, 3)[:1]), minlength=27) / rows
    tokens, pick = every(3, 3), Processed(**settings)
    laws = [pick.probs(net(tokens[:, :t])[:, -1], tokens[:, :t]) for t in range(3)]
    wanted = torch.stack([p[torch.arange(27), tokens[:, t]] for t, p in enumerate(laws)]).prod(0)
    assert wanted.sum() == pytest.approx(1)
    assert ((found - wanted) ** 2 / wanted.clamp(min=1e-9)).sum() * rows < 55  # chi2, 26 df: p<1e-3
    assert (found[wanted == 0] == 0).all()


def test_speculation_depends_on_neither_pace_nor_neighbours():
    net, draft = TableLM(V, T, seed=1), TableLM(V, T, seed=2)
    net.table[:] = 0.5 * (net.table + draft.table)  # a draft that is often right
    whole = run(Speculative(draft, ahead=1), Request(net, 256, T))
    for ahead, rows in ((2, 8), (4, 1), (9, 16)):
        for first in range(0, 64, rows):
            request = Request(net, rows, T)
            *_, ids = Speculative(draft, ahead).search(request, rng(rows, first=first))
            assert torch.equal(ids, whole[first : first + rows])


def test_a_perfect_draft_costs_a_call_for_several_tokens():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((12,), vocab=11), width=16, depth=1, heads=2).eval()
    draft = CausalTransformer(Spec((12,), vocab=11), width=16, depth=1, heads=2).eval()
    draft.load_state_dict(net.state_dict())
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    ids = run(Speculative(draft, ahead=4), Request(net, 16, 12))
    assert len(calls) == 3 and ids.shape == (16, 12)
    with pytest.raises(BadInput, match=r"sampler\.draft=RUN"):
        run(Speculative(), Request(net, 1, 12))
    other = CausalTransformer(Spec((12,), vocab=7), width=16, depth=1, heads=2)
    with pytest.raises(BadInput, match="has 7 tokens, the model 11"):
        run(Speculative(other), Request(net, 1, 12))


@pytest.mark.parametrize(
    "search",
    [Beam(3), DiverseBeam(2, 2), Constrained([[3], [5, 2]], 2), Contrastive()],
    ids=lambda s: type(s).__name__,
)
def test_rows_do_not_see_each_other(search):
    """On our transformer, cached: each row alone gives what it gives in a batch."""
    torch.manual_seed(0)
    net = CausalTransformer(Spec((10,), vocab=9), width=16, depth=2, heads=2).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.4)
    prompt = torch.randint(0, 9, (6, 3))
    together = run(search, Request(net, 6, 10, prompt=prompt))
    for i in range(6):
        request = Request(net, 1, 10, prompt=prompt[i : i + 1])
        *_, alone = search.search(request, rng(1, first=i))
        assert torch.equal(alone[0], together[i])
