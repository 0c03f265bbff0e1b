"""A VAE of tokens: what it gives tokens is a law, it draws from it, and hidden words are hidden."""

from functools import partial

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.spec import Space
from aigc.core.views import Tokens
from aigc.families.vae.sampling import Prior
from aigc.families.vae.text_module import TextVAE
from aigc.nets.mlp import MLPDecoder, MLPEncoder
from aigc.nets.transformer import CausalTransformer


def model(word_dropout: float = 0.0, levels: int | tuple = 3) -> TextVAE:
    torch.manual_seed(0)
    small = {"width": 16, "depth": 1}
    out = TextVAE(
        partial(MLPEncoder, **small),
        partial(MLPDecoder, **small),
        partial(CausalTransformer, **small, heads=2),
        latent=2,
        word_dropout=word_dropout,
        view=Tokens(Space((3,), levels)),
    )
    with torch.no_grad():
        for p in out.parameters():
            p += 0.3 * torch.randn_like(p)
    return out


EVERY = torch.cartesian_prod(*[torch.arange(3)] * 3)


@pytest.mark.parametrize("levels", [3, (3, 2, 3)])
def test_texts_have_a_law_and_are_drawn_from_it(levels):
    vae = model(levels=levels).eval()
    z = torch.zeros(len(EVERY), 2)
    with torch.no_grad():
        p = (-vae.token_nats(EVERY, z, None)).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        rng = Rng(0, torch.arange(20_000))
        *_, drawn = vae.draw(20_000, None, Prior(temperature=0.0), rng)  # z = 0
        found = torch.bincount((drawn * torch.tensor([9, 3, 1])).sum(1), minlength=27) / 20_000
        assert (found - p).abs().max() < 4 * (p.max() / 20_000) ** 0.5
        rng = Rng(0, torch.arange(16))
        *_, mode = vae.draw(16, None, Prior(temperature=0.0, noise=False), rng)
    assert (mode == mode[0]).all()


def test_hidden_words_are_hidden():
    """Without words to read, the law of a text is a product over its places."""
    vae = model(word_dropout=1.0).train()
    z = torch.randn(2, 2).repeat_interleave(2, 0)[:2]
    pairs = torch.tensor([[0, 1, 2], [2, 0, 0]]), torch.tensor([[0, 0, 0], [2, 1, 2]])
    first, second = (vae.token_nats(x, z, None).sum().item() for x in pairs)
    assert first == pytest.approx(second, abs=1e-4)
    vae.eval()
    first, second = (vae.token_nats(x, z, None).sum().item() for x in pairs)
    assert abs(first - second) > 1e-3
    with pytest.raises(BadInput, match=r"model\.word_dropout=1\.5"):
        model(word_dropout=1.5)
