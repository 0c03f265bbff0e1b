"""Encoder and decoder of maps: sizes that fit each other, labels that change nothing."""

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.maps import MapDecoder, MapEncoder

SHAPES = [
    ((1, 28, 28), 2, (7, 7)),
    ((3, 9, 6), 1, (5, 3)),
    ((1, 512), 3, (8,)),
    ((9, 50), 2, (13,)),
]


@pytest.mark.parametrize(("shape", "down", "small"), SHAPES)
def test_the_decoder_undoes_the_sizes_of_the_encoder(shape, down, small):
    spec = Spec(shape, quantum=0.1, classes=5)
    encoder = MapEncoder(spec, 6, width=4, down=down, attention=True)
    decoder = MapDecoder(spec, 6, width=4, down=down, attention=True)
    x, y = torch.randn(2, *shape), torch.tensor([0, 4])
    z = encoder(x, y)
    assert z.shape == (2, 6, *small)
    assert decoder(z, y).shape == x.shape
    assert torch.equal(z, encoder(x))
    assert torch.equal(decoder(z, y), decoder(z))


def test_patches_divide_sizes_at_once():
    spec = Spec((1, 256))
    encoder = MapEncoder(spec, 5, width=8, down=1, patch=16)
    decoder = MapDecoder(spec, 5, width=8, down=1, patch=16)
    z = encoder(torch.randn(2, 1, 256))
    assert z.shape == (2, 5, 8)
    assert decoder(z).shape == (2, 1, 256)
    with pytest.raises(BadInput, match="does not divide"):
        MapEncoder(spec, 5, patch=48)


def test_a_code_far_away_does_not_see_a_pixel():
    """Without attention and away from the mean of group norm, a map is local."""
    encoder = MapEncoder(Spec((1, 64, 64)), 2, width=4, down=2).eval()
    x = torch.zeros(1, 1, 64, 64, requires_grad=True)
    for module in encoder.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda h: h
    encoder(x)[0, 0, 0, 0].backward()
    assert x.grad[0, 0, :8, :8].abs().sum() > 0
    assert x.grad[0, 0, 40:, 40:].abs().sum() == 0


def test_a_row_of_a_table_has_no_map():
    with pytest.raises(BadInput, match="over 0 axes"):
        MapEncoder(Spec((7,)), 2)
