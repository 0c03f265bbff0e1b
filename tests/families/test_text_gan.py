"""A GAN of tokens: what it writes follows its law; each estimator has the gradient it claims."""

import pytest
import torch
from tables import TableLM, every, log_p
from torch import nn
from torch.nn import functional as F

from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.core.views import Tokens as TokenView
from aigc.families.gan.text_module import TextGAN
from aigc.families.gan.text_objective import Gumbel, Reinforce, gumbel, one_hot, write
from aigc.families.gan.text_sampling import Tokens

VOCAB, LENGTH = 3, 2


def test_texts_are_drawn_from_the_model():
    net = TableLM(VOCAB, LENGTH)
    rng = Rng(0, torch.arange(20_000))
    ids = write(net, lambda t: Tokens()(VOCAB, rng), LENGTH, None, None)
    texts = every(VOCAB, LENGTH)
    found = (ids[:, None] == texts).all(2).float().mean(0)
    assert torch.allclose(found, log_p(net, texts).exp().float(), atol=0.01)
    best = write(net, lambda t: Tokens(0.0)(VOCAB, Rng(0, torch.arange(4))), LENGTH, None, None)
    first = net(torch.zeros(1, 0, dtype=torch.long))[0, 0].argmax()
    assert (best[:, 0] == first).all()


def drawn(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of independent tokens, noise, and the tokens that it draws."""
    generator = torch.manual_seed(0)
    theta = torch.randn(LENGTH, VOCAB, generator=generator).requires_grad_()
    noise = gumbel(torch.rand(n, LENGTH, VOCAB, generator=generator))
    return theta, noise, (theta + noise).argmax(-1)


def reward(text: torch.Tensor) -> torch.Tensor:
    """Some number for each of the nine texts, `(B, V, T)` to `(B, 1)`."""
    table = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, -0.5], [1.5, 0.2, -2.0]])
    return torch.einsum("bi,bj,ij->b", text[..., 0], text[..., 1], table)[:, None]


def test_reinforce_has_the_gradient_of_the_expected_reward():
    theta, noise, ids = drawn(200_000)
    loss = Reinforce()(theta.expand(len(ids), -1, -1), noise, ids, reward)
    (found,) = torch.autograd.grad(loss, theta)
    law = theta.log_softmax(-1).exp()
    texts = every(VOCAB, LENGTH)
    p = law[0, texts[:, 0]] * law[1, texts[:, 1]]
    (wanted,) = torch.autograd.grad(-(p * reward(one_hot(texts, VOCAB))[:, 0]).sum(), theta)
    assert torch.allclose(found, wanted, atol=0.02)
    assert wanted.abs().max() > 0.1


def test_the_baseline_follows_the_reward():
    theta, noise, ids = drawn(2000)
    estimator = Reinforce(decay=0.5)
    for _ in range(30):
        loss = estimator(theta.expand(2000, -1, -1), noise, ids, lambda x: reward(x) * 0 + 7)
    assert estimator.mean.item() == pytest.approx(7, rel=1e-4)
    assert loss.abs() < 0.1  # equal rewards teach nothing


def test_gumbel_shows_tokens_and_passes_the_gradient_of_the_soft_ones():
    theta, noise, ids = drawn(64)
    seen = []

    def judge(text):
        seen.append(text)
        return reward(text)

    loss = Gumbel(tau=0.7)(theta.expand(64, -1, -1), noise, ids, judge)
    assert torch.allclose(seen[0], one_hot(ids, VOCAB), atol=1e-6)
    (found,) = torch.autograd.grad(loss, theta)
    hard = one_hot(ids, VOCAB).requires_grad_()
    (slope,) = torch.autograd.grad(F.softplus(-reward(hard)).mean(), hard)
    soft = ((theta + noise) / 0.7).softmax(-1)
    (wanted,) = torch.autograd.grad((soft.mT * slope).sum(), theta)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert wanted.abs().max() > 0.01


class Flat(nn.Module):
    """A linear critic."""

    def __init__(self, spec, out):
        super().__init__()
        self.out = nn.Linear(spec.dims, out)

    def forward(self, x, y=None):
        return self.out(x.flatten(1))


@pytest.mark.parametrize("estimator", [Gumbel(), Reinforce()])
def test_a_model_knows_its_law_and_samples_by_number(estimator):
    view = TokenView(Space((LENGTH,), VOCAB, ordered=False))
    model = TextGAN(
        causal_lm=lambda spec: TableLM(VOCAB, LENGTH), encoder=Flat, estimator=estimator, view=view
    )
    texts = every(VOCAB, LENGTH)
    nats = model.nats(texts, None)
    assert torch.allclose(nats, -log_p(model.net, texts).float(), atol=1e-5)
    assert (-nats).exp().sum().item() == pytest.approx(1, abs=1e-5)
    whole, _ = model.sample(40, seed=2, sampler=Tokens())
    later, _ = model.sample(8, seed=2, sampler=Tokens(), start=32)
    assert torch.equal(whole[32:], later)
    for loss in (model.critic_loss(texts, None), model.loss(texts, None)):
        assert torch.isfinite(loss.value)


def test_columns_keep_to_their_levels():
    view = TokenView(Space((LENGTH,), (VOCAB, 2), ordered=False))
    model = TextGAN(causal_lm=lambda spec: TableLM(VOCAB, LENGTH), encoder=Flat, view=view)
    ids, _ = model.sample(300, sampler=Tokens())
    assert ids[:, 1].max() == 1
    assert ids[:, 0].max() == 2


def test_a_run(smoke):
    folder = smoke(
        "model=text_gan", "modality=text", "modality.codec.context=12", "trainer.preview=4",
        "budget.examples=128", "model/estimator=reinforce",
    )  # fmt: skip
    log = (folder / "log.csv").read_text()
    assert all(name in log for name in ("train/critic", "train/generator", "val/loss"))
