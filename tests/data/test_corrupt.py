"""Corruptions: nothing at strength zero, what they say above it, valid ids always."""

import pandas as pd
import pytest
import torch

from aigc.data.corrupt import CORRUPTIONS, Blur, Clipping, Missing, Occlusion
from aigc.modalities.audio import AudioCodec
from aigc.modalities.base import Codec
from aigc.modalities.image import ImageCodec
from aigc.modalities.tabular import TabularCodec
from aigc.modalities.text import TextCodec


def case(modality: str) -> tuple[torch.Tensor, Codec]:
    torch.manual_seed(0)
    if modality == "image":
        return torch.randint(17, (20, 3, 8, 8)), ImageCodec(17).restore({"shape": [3, 8, 8]})
    if modality == "text":
        return torch.randint(256, (20, 30)), TextCodec(context=30)
    if modality == "audio":
        codec = AudioCodec(length=128)
        return codec.quantize(0.5 * torch.randn(20, 128)), codec
    frame = pd.DataFrame({"x": [None, *range(19)], "kind": list("abbcb" * 4)})
    codec = TabularCodec().fit([frame])
    return codec.encode(frame), codec


CASES = [(modality, name) for modality, own in CORRUPTIONS.items() for name in own]


@pytest.mark.parametrize(("modality", "name"), CASES)
def test_strength_zero_changes_nothing_and_more_changes_more(modality: str, name: str):
    ids, codec = case(modality)
    make = CORRUPTIONS[modality][name]
    assert torch.equal(make(0.0)(ids, codec), ids)
    top = torch.as_tensor(codec.space.levels)
    changed = []
    for strength in (0.2, 0.9):
        out = make(strength)(ids, codec)
        assert out.shape == ids.shape and ((out >= 0) & (out < top)).all()
        changed.append((out - ids).abs().float().mean())
    assert 0 < changed[0] < changed[1]


def test_what_each_one_does():
    flat = torch.full((2, 1, 8, 8), 5)
    assert torch.equal(Blur(1.5)(flat, None), flat)
    ids = torch.full((50, 3, 8, 8), 5)
    hidden = Occlusion(0.5)(ids, None) == 0
    assert (hidden.flatten(1).sum(1) == 3 * 16).all()
    ids, codec = case("audio")
    wave, cut = codec.waves(ids), codec.waves(Clipping(0.5)(ids, codec))
    assert torch.allclose(cut.abs().amax(1), wave.abs().amax(1) / 2, atol=0.02)
    ids, codec = case("tabular")
    lost = Missing(1.0)(ids, codec)
    assert (lost[:, 0] == 0).all() and (lost[:, 1] == 1).all()  # missing; the commonest, b
