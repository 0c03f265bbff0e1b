"""Discrete diffusion against transition matrices, and against small laws known in full."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.share import strata
from aigc.core.spec import Space
from aigc.core.views import Tokens
from aigc.families.diffusion.discrete_module import DiscreteDiffusion
from aigc.families.diffusion.discrete_objective import (
    Absorbing,
    Cosine,
    Linear,
    Process,
    Uniform,
    bound,
)
from aigc.families.diffusion.discrete_sampling import (
    Ancestral,
    Cached,
    Confidence,
    SemiAutoregressive,
    dense_rank,
    pick,
)
from aigc.nets.token_denoiser import TokenDenoiser

BOTH = pytest.mark.parametrize("kind", [Absorbing, Uniform])
V, N = 4, 300


def scalar(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def matrix(process: Process, kept: float) -> Tensor:
    """`Q[i, j] = q(j | i)` of an interval in which a token is kept with this probability."""
    S = process.states
    law = torch.zeros(S, dtype=torch.float64)
    if S > V:
        law[V] = 1
    else:
        law[:] = 1 / V
    return kept * torch.eye(S, dtype=torch.float64) + (1 - kept) * law


def between(process: Process, s: float, t: float) -> Tensor:
    return matrix(process, float(process.alpha(scalar(t)) / process.alpha(scalar(s))))


def posterior(process: Process, x_0: int, x_t: int, t: float, s: float) -> Tensor:
    """`q(x_s | x_t, x_0)` by Bayes' rule (D3PM eq. 3)."""
    joint = between(process, 0, s)[x_0] * between(process, s, t)[:, x_t]
    return joint / joint.sum()


def lattice() -> tuple[Tensor, Tensor]:
    """Pairs of uniform numbers that fill the square evenly, `(N * N, 1)` each."""
    grid = (torch.arange(N, dtype=torch.float64) + 0.5) / N
    u, v = torch.meshgrid(grid, grid, indexing="ij")
    return u.reshape(-1, 1), v.reshape(-1, 1)


def frequency(x: Tensor, states: int) -> Tensor:
    return torch.bincount(x.flatten(), minlength=states).double() / x.numel()


@pytest.mark.parametrize("alpha", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_schedules_fall_from_one_to_zero_at_the_stated_rate(alpha):
    t = torch.linspace(0, 1, 101, dtype=torch.float64, requires_grad=True)
    value = alpha(t)
    assert value[0].item() == pytest.approx(1) and value[-1].item() == pytest.approx(0)
    (slope,) = torch.autograd.grad(value.sum(), t)
    assert torch.allclose(-slope, alpha.decay(t))


@BOTH
def test_a_chain_of_steps_has_the_stated_marginal(kind):
    process = kind(V, None, Cosine())
    times = torch.linspace(0, 0.7, 8).tolist()
    chain = torch.eye(process.states, dtype=torch.float64)
    for s, t in pairwise(times):
        chain = chain @ between(process, s, t)
    u, v = lattice()
    for x_0 in range(V):
        x_t = process.corrupt(torch.full(u.shape, x_0), scalar(times[-1]), u, v)
        assert (frequency(x_t, process.states) - chain[x_0]).abs().max() < 2 / N


@BOTH
def test_a_step_back_follows_the_posterior_of_the_matrices(kind):
    process, t, s = kind(V, None, Linear()), 0.6, 0.4
    u, v = lattice()
    for x_0 in range(V):
        for x_t in [V, x_0] if kind is Absorbing else range(V):
            full = torch.full_like(u, x_t, dtype=torch.long)
            x_s = process.step(full, torch.full_like(full, x_0), scalar(t), scalar(s), u, v)
            found = frequency(x_s, process.states)
            assert (found - posterior(process, x_0, x_t, t, s)).abs().max() < 3 / N


def test_a_step_back_agrees_with_diffusers():
    """Their scheduler draws; ours is held against its frequencies."""
    from diffusers import DiscreteDDIMScheduler

    theirs = DiscreteDDIMScheduler()
    theirs.set_timesteps(10)
    n = 40_000
    x_t = torch.arange(V).repeat_interleave(n // V)[None]
    logits = torch.randn(V, generator=torch.manual_seed(0)).expand(1, n, V)
    x_s = (
        theirs.step(logits, 4, x_t, temperature=1.0, generator=torch.manual_seed(1))
        .prev_sample[0]
        .view(V, -1)
    )  # from t = 0.6 to s = 0.5
    law = logits.softmax(-1)[:, :V].double()
    process = Uniform(V, None, Linear())
    ours = process.reverse(law, torch.arange(V)[None], scalar(0.6), scalar(0.5))[0]
    for k in range(V):
        assert (frequency(x_s[k], V) - ours[k]).abs().max() < 0.02


@BOTH
def test_a_step_of_the_bound_is_the_divergence_of_the_posteriors(kind):
    process, t, s = kind(V, None, Linear()), 0.6, 0.4
    law = torch.rand(V, generator=torch.manual_seed(0), dtype=torch.float64)
    law = law / law.sum()
    for x_0 in range(V):
        for x_t in [V, x_0] if kind is Absorbing else range(V):
            mine = torch.eye(V, dtype=torch.float64)[x_0] if x_t == x_0 == V else law
            if kind is Absorbing and x_t != V:
                mine = torch.eye(V, dtype=torch.float64)[x_t]  # known
            wanted = posterior(process, x_0, x_t, t, s)
            model = sum(mine[k] * posterior(process, k, x_t, t, s) for k in range(V) if mine[k])
            kl = float(torch.xlogy(wanted, wanted / model.clamp(min=1e-300)).sum())
            args = law.log()[None, None], torch.tensor([[x_0]]), torch.tensor([[x_t]])
            assert process.kl(*args, scalar(t), scalar(s)).item() == pytest.approx(kl, abs=1e-9)
            if kind is Uniform:
                found = process.reverse(law[None, None], args[2], scalar(t), scalar(s))[0, 0]
                assert torch.allclose(found, model, atol=1e-9)


def rate(process: Process, log_law: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Nats a token and unit of time; MDLM's eq. 10 for masks."""
    if isinstance(process, Uniform):
        return process.rate(log_law, x_0, x_t, t)
    nats = -log_law.gather(2, x_0[..., None])[..., 0] * (x_t == V)
    return (process.alpha.decay(t) / (1 - process.alpha(t)))[:, None] * nats


@BOTH
@pytest.mark.parametrize("alpha", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_the_rate_is_the_score_entropy_and_the_limit_of_small_steps(kind, alpha):
    """SEDD's score entropy with the rates of the forward process, for masks and for noise."""
    process, t = kind(V, None, alpha), 0.45
    law = torch.rand(V, generator=torch.manual_seed(0), dtype=torch.float64)
    law = law / law.sum()
    marginal = between(process, 0, t)
    speed = float(alpha.decay(scalar(t)) / alpha(scalar(t)))
    jump = speed * (matrix(process, 0.0) - torch.eye(process.states))  # d Q / dt
    for x_0 in range(V):
        for x_t in [V] if kind is Absorbing else range(V):
            ratios = marginal / marginal[:, x_t : x_t + 1]
            score = law @ ratios[:V]
            total = 0.0
            for j in range(process.states):
                r, p = ratios[x_0, j], score[j]
                if j != x_t and jump[j, x_t] > 0:
                    inner = p - torch.xlogy(r, p) + torch.xlogy(r, r) - r
                    total += float(jump[j, x_t] * inner)
            args = law.log()[None, None], torch.tensor([[x_0]]), torch.tensor([[x_t]])
            assert rate(process, *args, scalar(t)).item() == pytest.approx(total, rel=1e-6)
            h = 1e-5
            small = process.kl(*args, scalar(t), scalar(t - h)).item() / h
            assert small == pytest.approx(total, rel=1e-3)


class Known:
    """A joint law of three tokens of four values, and all that follows from it."""

    def __init__(self, process: Process):
        self.process = process
        logits = 1.5 * torch.randn(V, V, V, generator=torch.manual_seed(3), dtype=torch.float64)
        self.p = logits.flatten().softmax(0)
        self.every = torch.cartesian_prod(*[torch.arange(V)] * 3)
        self.entropy = float(-(self.p * self.p.log()).sum())

    def forward(self, t: Tensor, x_t: Tensor) -> Tensor:
        """`q(x_t | x_0)` of each row of `x_t (B, 3)` and each `x_0`, `(B, V^3)`."""
        Q = matrix(self.process, 1.0) * 0
        alpha = self.process.alpha(t)[:, None, None]
        Q = alpha * torch.eye(self.process.states) + (1 - alpha) * matrix(self.process, 0.0)
        q = [
            Q[torch.arange(len(x_t))[:, None], self.every[None, :, i], x_t[:, i, None]]
            for i in range(3)
        ]
        return q[0] * q[1] * q[2]

    def denoise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The exact `p(x_0^i | x_t)`, `(B, 3, V)`."""
        t = t.double() if self.process.timed else torch.full_like(t, 0.5)
        weight = self.forward(t, x_t) * self.p
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-300)
        return torch.stack(
            [torch.stack([weight[:, self.every[:, i] == k].sum(1) for k in range(V)], 1)
             for i in range(3)], 1
        )  # fmt: skip

    def log_law(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.denoise(x_t, t).clamp(min=1e-300).log()

    def term(self, t: float, s: float | None = None) -> Tensor:
        """The expectation of a term of the bound for each `x_0`, `(V^3,)`, by enumeration."""
        states = torch.cartesian_prod(*[torch.arange(self.process.states)] * 3)
        time = scalar(t).expand(len(states))
        q, log_law = self.forward(time, states), self.log_law(states, time)
        out = []
        for i, x_0 in enumerate(self.every):
            args = log_law, x_0.expand(len(states), 3), states, time
            if s is None:
                nats = rate(self.process, *args)
            else:
                nats = self.process.kl(*args, scalar(s).expand(len(states)))
            nats = torch.where(q[:, i, None] > 0, nats, 0.0)
            out.append((q[:, i] * nats.sum(1)).sum())
        return torch.stack(out)


@BOTH
@pytest.mark.parametrize("alpha", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_the_bound_of_the_exact_denoiser_is_the_entropy(kind, alpha):
    """In continuous time nothing is lost; masks even give each example its own likelihood."""
    known = Known(kind(V, None, alpha))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    # t = v^2 (3 - 2 v): the integrand has a logarithm at the ends, which the map takes away
    v, total = (nodes + 1) / 2, 0.0
    for node, weight in zip(v, weights / 2):
        total = total + weight * 6 * node * (1 - node) * known.term(node**2 * (3 - 2 * node))
    assert float(known.p @ total) == pytest.approx(known.entropy, abs=2e-4)
    if kind is Absorbing:
        assert torch.allclose(total, -known.p.log(), atol=1e-6)


@BOTH
def test_the_bound_of_few_steps_comes_down_to_the_entropy(kind):
    known = Known(kind(V, None, Linear()))

    def steps(n: int) -> float:
        return float(sum(known.p @ known.term((k + 1) / n, k / n) for k in range(n)))

    few, many = steps(3), steps(30)
    assert known.entropy < many < few
    assert many - known.entropy < 0.2 * (few - known.entropy)


@BOTH
@pytest.mark.parametrize("steps", [None, 5])
def test_the_drawn_bound_has_the_enumerated_mean(kind, steps):
    known = Known(kind(V, None, Linear()))
    index = torch.multinomial(known.p, 6000, True, generator=torch.manual_seed(0))
    nats = bound(known.log_law, known.process, known.every[index], 4, steps)
    wanted = known.entropy
    if steps:
        wanted = float(sum(known.p @ known.term((k + 1) / 5, k / 5) for k in range(5)))
    assert abs(nats.mean() - wanted) < 4 * nats.std() / 6000**0.5
    if kind is Absorbing and not steps:  # the likelihood of each example, whatever the order
        own = -known.p.log()[index]
        assert np.corrcoef(nats, own)[0, 1] > 0.8


def total_variation(x: Tensor, p: Tensor) -> float:
    code = (x * torch.tensor([V * V, V, 1])).sum(1)
    return 0.5 * float((frequency(code, len(p)) - p).abs().sum())


SAMPLERS = [
    (Uniform, Ancestral(64)),
    (Absorbing, Ancestral(64)),
    (Absorbing, Cached(64)),
    (Absorbing, SemiAutoregressive(64, block=2)),
    (Absorbing, SemiAutoregressive(1, block=1)),  # autoregressive: exact in one step a token
    (Absorbing, Confidence(3, temperature=1e6)),  # one a step in random order: exact
]


@pytest.mark.parametrize(
    ("kind", "sampler"), SAMPLERS, ids=lambda x: getattr(x, "__name__", repr(x))
)
def test_the_exact_denoiser_gives_back_the_law(kind, sampler):
    known, n = Known(kind(V, None, Linear())), 8_000
    rng = Rng(0, torch.arange(n))
    *_, x = sampler(known.denoise, known.process.noise(rng.uniform(3)), known.process, rng)
    # the distance of n draws from their own law has mean 0.5 sum sqrt(2 p (1 - p) / pi / n)
    floor = float((known.p * (1 - known.p) / n * 2 / np.pi).sqrt().sum()) / 2
    assert total_variation(x, known.p) < 1.6 * floor + (0.01 if sampler.steps == 64 else 0)


def counted(known: Known):
    calls = []

    def denoise(x, t):
        calls.append(1)
        return known.denoise(x, t)

    return denoise, calls


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (1000, 3)])
def test_the_cache_evaluates_once_a_change(steps: int, calls: int):
    known = Known(Absorbing(V, None, Linear()))
    for sampler, wanted in ((Ancestral(steps), steps), (Cached(steps), calls)):
        denoise, made = counted(known)
        states = list(
            sampler(denoise, torch.full((1, 3), V), known.process, Rng(0, torch.arange(1)))
        )
        assert len(made) == wanted
        assert (states[-1] < V).all()


@pytest.mark.parametrize("alpha", [Linear(), Cosine()], ids=["linear", "cosine"])
def test_the_cache_does_not_change_the_law(alpha):
    """Not even of few steps, which is a wrong one: tokens that appear together are independent."""
    known, n, found = Known(Absorbing(V, None, alpha)), 8_000, []
    x_T = torch.full((n, 3), V)
    for sampler in (Ancestral(2), Cached(2)):
        *_, x = sampler(known.denoise, x_T, known.process, Rng(0, torch.arange(n)))
        found.append(frequency((x * torch.tensor([V * V, V, 1])).sum(1), V**3))
    floor = float((known.p * (1 - known.p) / n * 4 / np.pi).sqrt().sum()) / 2
    assert 0.5 * (found[0] - found[1]).abs().sum() < 1.3 * floor
    assert min(0.5 * (f - known.p).abs().sum() for f in found) > 2 * floor


def test_dense_ranks():
    key = torch.tensor([[5, 2, 5, 9], [1, 1, 1, 1]])
    assert dense_rank(key).tolist() == [[1, 0, 1, 2], [0, 0, 0, 0]]


def test_blocks_are_filled_from_left_to_right():
    known = Known(Absorbing(V, None, Linear()))
    rng = Rng(0, torch.arange(8))
    for x in SemiAutoregressive(30, block=1)(
        known.denoise, torch.full((8, 3), V), known.process, rng
    ):
        masked = x == V
        assert (masked.int().diff(dim=1) >= 0).all()
    assert not masked.any()


def test_tokens_that_are_given_stay_and_the_rest_is_conditional():
    known, n = Known(Absorbing(V, None, Linear())), 4000
    start = torch.full((n, 3), V)
    start[:, 1] = 2
    given = known.p.view(V, V, V)[:, 2]
    wanted = given / given.sum()
    for sampler in (Ancestral(64), Cached(64), SemiAutoregressive(9, block=1)):
        *_, x = sampler(known.denoise, start, known.process, Rng(0, torch.arange(n)))
        assert (x[:, 1] == 2).all() and x.max() < V
        found = frequency(x[:, 0] * V + x[:, 2], V * V).view(V, V)
        assert (found - wanted).abs().max() < 0.025, sampler


def test_confidence_agrees_with_diffusers():
    """Laws so sharp that both draw the same guess: the order in which tokens appear is left."""
    from diffusers import AmusedScheduler

    T, steps = 24, 7
    torch.manual_seed(0)
    best = torch.randint(0, 9, (5, T))
    sure = torch.rand(5, T).double().argsort(1) / T  # all different
    logits = torch.zeros(5, T, 9).scatter(2, best[..., None], (7 + 8 * sure[..., None]).float())
    theirs = AmusedScheduler(mask_token_id=9)
    theirs.set_timesteps(steps, temperature=(0, 0))
    process, y = Absorbing(9, None, Linear()), torch.full((5, T), 9)
    rng = Rng(0, torch.arange(5))
    states = Confidence(steps, temperature=0.0)(lambda x, t: logits.softmax(-1), y, process, rng)
    for k, x in zip(theirs.timesteps, states):
        y = theirs.step(logits, k, y, generator=torch.manual_seed(int(k))).prev_sample
        assert torch.equal(x == 9, y == 9)
    assert torch.equal(x, best)


def test_picks_follow_the_law_and_leave_out_what_has_no_mass():
    law = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0]).expand(1, 1, 6)
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    found = pick(law.expand(1000, 1, 6), u[:, None])
    assert frequency(found, 6).tolist() == pytest.approx(law[0, 0].tolist(), abs=1e-3)


def module(process: str = "absorbing", **settings) -> DiscreteDiffusion:
    """A table of unequal columns with two classes."""
    view = Tokens(Space((3,), (2, 5, 3), classes=2, ordered=(True, False, True)))

    def net(spec, **more):
        return TokenDenoiser(spec, width=16, depth=1, heads=2, **more)

    torch.manual_seed(0)
    return DiscreteDiffusion(net, process, view=view, **settings).eval()


@pytest.mark.parametrize("process", ["absorbing", "uniform"])
@pytest.mark.parametrize("steps", [None, 7])
def test_columns_keep_to_their_levels(process: str, steps: int | None):
    model = module(process, steps=steps)
    levels = torch.tensor([2, 5, 3])
    for sampler in (Ancestral(9), *([Confidence(3)] if process == "absorbing" else [])):
        ids, y = model.sample(64, sampler=sampler)
        assert (ids < levels).all() and set(y.tolist()) == {0, 1}
    model.loss(ids, y).value.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.net.parameters() if p.grad is not None)
    # a flat law is worth log(2 * 5 * 3) nats to masks in continuous time
    assert torch.isfinite(model.nats(ids, y)).all()
    assert model.nats(ids, y).mean().item() == pytest.approx(np.log(30), rel=0.35)


def test_a_template_is_filled_in(tmp_path):
    model, path = module(), tmp_path / "template.npz"
    np.savez(path, ids=np.array([[-1, 3, -1]]))
    for sampler in (Cached, SemiAutoregressive, Confidence):
        ids, _ = model.sample(20, sampler=sampler(8, given=str(path)))
        assert (ids[:, 1] == 3).all() and len(ids.unique(dim=0)) > 1
    for wrong, words in (
        ({"ids": np.array([[0, 5, 0]])}, "beyond the levels"),
        ({"ids": np.array([[0, 0]])}, r"shape \(2,\) are not of this model"),
        ({"x": np.zeros(3)}, "an .npz file with ids"),
    ):
        np.savez(path, **wrong)
        with pytest.raises(BadInput, match=words):
            model.sample(2, sampler=Cached(given=str(path)))
    with pytest.raises(BadInput, match="npz file with ids"):
        model.sample(2, sampler=Cached(given="nowhere.npz"))


def test_strata_are_even_and_a_batch_sees_all_of_time():
    torch.manual_seed(0)
    u = torch.stack([strata(10) for _ in range(2000)])
    assert (u.mul(10).floor().sort(1).values == torch.arange(10)).all()
    assert (u[:, 3].mean() - 0.5).abs() < 0.03 and (u.mean(1).std() < 0.03)


def test_mistakes_are_named():
    for settings, words in (
        ({"process": "gaussian"}, "unknown model.process"),
        ({"steps": 0}, "model.steps=0"),
        ({"terms": 0}, "model.terms=0"),
    ):
        with pytest.raises(BadInput, match=words):
            module(**settings)
    with pytest.raises(BadInput, match="block=0: at least 1"):
        SemiAutoregressive(block=0)
    with pytest.raises(BadInput, match="temperature=-1"):
        Confidence(temperature=-1.0)
    with pytest.raises(BadInput, match="steps=0: at least 1"):
        Cached(0)
    with pytest.raises(BadInput, match="Cached does not sample a uniform diffusion: use Ancestral"):
        module("uniform").sample(2, sampler=Cached())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "examples", "batch"),
    [("masked_diffusion", 25_600, 32), ("uniform_diffusion", 128_000, 64)],
)
def test_trained_bounds_lie_within_five_percent_above_the_markov_entropy(model, examples, batch):
    """Against the code length of the very same windows under the true chain, and its mean."""
    from aigc.data.sets.law import stationary_law
    from aigc.lab.conf import compose
    from aigc.lab.run import load
    from aigc.lab.training import train

    words = [f"model={model}", "modality=text", "dataset=markov", "budget=smoke", "model.terms=32"]
    words += [f"budget.examples={examples}", f"budget.batch_size={batch}", "budget.width=64"]
    words += ["budget.depth=2", "optimizer.lr=4e-3", "modality.codec.context=32"]
    run = load(train(compose("train", [*words, "trainer.preview=0", "trainer.validations=4"])).path)
    ids = torch.from_numpy(run.store.ids("test").astype("int64"))[:512]
    with torch.no_grad():
        nats = run.model.nats(run.model.view.encode(ids), None).double().numpy()
    chain = np.random.RandomState(0).dirichlet(np.full(8, 0.3), size=8)
    x = ids.numpy() - ord("a")
    exact = -np.log(stationary_law(chain)[x[:, 0]]) - np.log(chain[x[:, :-1], x[:, 1:]]).sum(1)
    truth = run.store.meta["truth"]
    floor = (truth["marginal_entropy"] + 31 * truth["entropy_rate"]) * np.log(2)
    assert exact.mean() == pytest.approx(floor, abs=4 * exact.std() / 512**0.5)
    gap = nats - exact
    print(f"{model}: {nats.mean() / floor:.4f} of the floor, gap {gap.mean() / exact.mean():.4f}")
    assert gap.mean() > -3 * gap.std() / 512**0.5
    assert nats.mean() < 1.05 * floor
    assert gap.mean() < 0.05 * exact.mean()
