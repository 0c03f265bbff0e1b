"""Adversaries: closed forms on linear models, the ball, and training of each family."""

import pytest
import torch
from torch import nn

from aigc.core.errors import BadInput
from aigc.core.spec import Space, Spec
from aigc.core.views import Grid, Tokens
from aigc.families.adversary import Adversary, shifted, token_embedding
from aigc.families.autoregressive.module import Autoregressive
from aigc.families.vae.module import VAE
from aigc.runs import RunDir


def changed(adversary: Adversary, objective, x: torch.Tensor, **options) -> torch.Tensor:
    with adversary.attack(objective, x, **options) as moved:
        return moved


def test_fgm_on_a_linear_model_has_a_closed_form():
    torch.manual_seed(0)
    w, x = torch.randn(3, 7), 0.2 * torch.randn(4, 3, 7)
    moved = changed(Adversary(eps=0.1, share=1.0), lambda x: (x * w).sum(), x)
    norm = w.norm()
    assert torch.allclose(moved - x, (0.1 * 21**0.5 * w / norm).expand(4, 3, 7), atol=1e-6)
    signed = changed(Adversary(eps=0.1, norm="linf", share=1.0), lambda x: (x * w).mean(), x)
    assert torch.allclose(signed - x, 0.1 * w.sign().expand(4, 3, 7), atol=1e-6)
    # ... and so has what it raises the loss by
    rise = ((moved - x) * w).sum((1, 2))
    assert torch.allclose(rise, 0.1 * 21**0.5 * norm.expand(4), atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_pgd_stays_in_its_ball_and_finds_more_than_one_step(norm: str):
    torch.manual_seed(0)
    x = 0.3 * torch.randn(8, 10)
    a, b = torch.randn(10), torch.randn(10)
    curved = lambda x: ((0.7 * x @ a).sin() + (0.5 * x @ b).cos()).sum()  # noqa: E731
    one = changed(Adversary(0.2, 1, norm=norm, share=1.0), curved, x, bound=9.0)
    many = changed(Adversary(0.2, 20, 0.05, norm=norm, share=1.0), curved, x, bound=9.0)
    for moved in (one, many):
        size = moved - x
        assert (
            size.abs().amax(1) if norm == "linf" else size.square().mean(1).sqrt()
        ).max() < 0.201
    assert curved(x) < curved(one) < curved(many)


def test_only_a_share_is_changed_and_floats_stay_in_range():
    x = torch.full((10, 4), 0.95)
    moved = changed(Adversary(eps=0.2, share=0.3), lambda x: x.sum(), x)
    assert torch.equal(moved[3:], x[3:]) and (moved[:3] == 1).all()
    assert changed(Adversary(0.2, share=1.0), lambda x: x.sum(), x, bound=9.0).max() > 1.1


def test_embeddings_move_as_inputs_of_a_linear_model_do():
    torch.manual_seed(0)
    embedding, w = nn.Embedding(5, 6), torch.randn(4, 6)
    tokens = torch.randint(5, (3, 4))
    given = embedding(tokens)
    with Adversary(0.1, share=1.0).attack(lambda t: (embedding(t) * w).sum(), tokens, embedding):
        delta = embedding(tokens) - given
    scale = 0.1 * given.square().mean().sqrt() * 24**0.5
    assert torch.allclose(delta, (scale * w / w.norm()).expand(3, 4, 6), atol=1e-6)
    assert torch.equal(embedding(tokens), given)  # the hook is gone
    with pytest.raises(ValueError), shifted(embedding):
        raise ValueError
    assert not embedding._forward_hooks


def vae() -> VAE:
    from aigc.nets.conv import ConvDecoder, ConvEncoder

    def encoder(spec: Spec, out: int) -> nn.Module:
        return ConvEncoder(spec, out, width=8, dropout=0.5)

    def decoder(spec: Spec, latent: int) -> nn.Module:
        return ConvDecoder(spec, latent, width=8)

    return VAE(encoder, decoder, latent=3, view=Grid(Space((1, 4, 4), 9)))


def language_model() -> Autoregressive:
    from aigc.nets.transformer import CausalTransformer

    net = lambda spec: CausalTransformer(spec, 32, 1, dropout=0.5)  # noqa: E731
    return Autoregressive(net, view=Tokens(Space((1, 4, 4), 9)))


@pytest.mark.parametrize("make", [vae, language_model])
def test_an_adversary_of_size_zero_changes_no_gradient(make):
    from aigc.core.spec import Batch

    torch.manual_seed(0)
    model = make()
    ids = torch.randint(9, (6, 1, 4, 4))
    gradients = []
    for adversary in (None, Adversary(0.0, 2, share=1.0), Adversary(0.3, 2, share=1.0)):
        model.adversary = adversary
        model.zero_grad()
        torch.manual_seed(7)  # dropout and latents are drawn alike
        model.training_step(Batch(ids), 0).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)
    assert not torch.allclose(gradients[0], gradients[2], atol=1e-3)


def test_the_embedding_of_the_tokens_is_found():
    model = language_model()
    assert token_embedding(model, 9) is model.net.tokens
    with pytest.raises(BadInput, match="no embedding of 100 tokens"):
        token_embedding(model, 100)


@pytest.mark.parametrize(
    ("family", "kind"),
    [("autoregressive", "fgm"), ("masked_diffusion", "pgd"), ("diffusion", "fgm"),
     ("vae", "pgd"), ("gan", "pgd")],
)  # fmt: skip
def test_each_family_trains_against_an_adversary(smoke, family: str, kind: str):
    words = [f"model={family}", "budget.examples=64", "trainer.preview=0"]
    plain, hard = smoke(*words), smoke(*words, f"adversary={kind}")
    still = smoke(*words, f"adversary={kind}", "adversary.eps=0", "adversary.share=1.0")
    files = [(run / "checkpoints" / "model.safetensors").read_bytes() for run in (plain, still)]
    assert files[0] == files[1]
    assert (hard / "checkpoints" / "model.safetensors").read_bytes() != files[0]
    assert RunDir(hard).config["adversary"]["steps"] == (3 if kind == "pgd" else 1)
