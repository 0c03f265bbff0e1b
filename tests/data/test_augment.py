"""Augmentation: identities, and what must never change."""

import pandas as pd
import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.data import augment
from aigc.data.augment import check
from aigc.modalities.audio import AudioCodec
from aigc.modalities.image import ImageCodec
from aigc.modalities.tabular import TabularCodec
from aigc.modalities.text import TextCodec
from aigc.runs import RunDir

PICTURES = ImageCodec(levels=17).restore({"shape": [3, 6, 5]})
SOUND = AudioCodec(rate=4000, length=256)


def pictures(n: int = 64) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randint(17, (n, 3, 6, 5))


def tones() -> torch.Tensor:
    t = torch.arange(256) / 4000
    frequency = torch.linspace(100, 1500, 32)[:, None]
    return SOUND.quantize(0.5 * torch.sin(2 * torch.pi * frequency * t))


def table() -> tuple[torch.Tensor, TabularCodec]:
    torch.manual_seed(0)
    x = torch.randn(101).tolist()
    frame = pd.DataFrame({"x": [None, *x[1:]], "kind": list("abcab" * 20 + "a"), "n": range(101)})
    codec = TabularCodec(bins=8).fit([frame])
    return codec.encode(frame), codec


def test_a_flip_is_an_involution_and_flips_half():
    ids = pictures(1000)
    always = augment.Flip(p=1.0)
    assert torch.equal(always(always(ids, PICTURES), PICTURES), ids)
    assert torch.equal(augment.Flip(p=0.0)(ids, PICTURES), ids)
    changed = (augment.Flip()(ids, PICTURES) != ids).flatten(1).any(1).float().mean()
    assert abs(float(changed) - 0.5) < 0.05


def test_a_crop_moves_pictures_and_brings_in_level_0():
    ids = pictures(400)
    out = augment.Crop(padding=1)(ids, PICTURES)
    found = torch.zeros(400, dtype=torch.bool)
    for up in (0, 1, 2):
        for left in (0, 1, 2):
            moved = torch.nn.functional.pad(ids, [1] * 4)[..., up : up + 6, left : left + 5]
            found |= (moved == out).flatten(1).all(1)
    assert found.all()
    assert torch.equal(augment.Crop(padding=0)(ids, PICTURES), ids)


def test_colour_shifts_all_pixels_alike():
    grey = torch.full((50, 3, 6, 5), 8)
    out = augment.Colour(brightness=0.25, contrast=0.9)(grey, PICTURES)
    assert (out.flatten(1).amax(1) == out.flatten(1).amin(1)).all()  # contrast about the mean
    assert out.min() >= 4 and out.max() <= 12 and out.float().std() > 0
    ids = pictures()
    assert torch.equal(augment.Colour(0.0, 0.0)(ids, PICTURES), ids)


def test_tokens_change_at_their_rate_and_ends_stay():
    codec = TextCodec(context=50)
    codec.space = Space((50,), 256, ordered=False, end=0)
    torch.manual_seed(0)
    ids = torch.randint(1, 200, (200, 50))
    ids[:, 20] = 0
    out = augment.TokenDropout(p=0.2)(ids, codec)
    assert ((out == 0) == (ids == 0)).all() and set(out.unique().tolist()) <= set(range(200))
    assert abs(float((out != ids).float().mean()) - 0.2 * 0.98 * 0.98) < 0.01
    changed = (augment.SpanMask(share=0.4)(ids, codec) != ids).float()
    assert abs(float(changed.mean()) - 0.2) < 0.03  # half of the most
    first, last = changed.argmax(1), 49 - changed.flip(1).argmax(1)
    assert (last - first)[changed.any(1)].max() < 20


def test_sounds_are_scaled_moved_and_cut():
    torch.manual_seed(0)
    ids = tones()
    wave = SOUND.waves(ids)
    half = SOUND.waves(augment.Gain(0.5, 0.5)(ids, SOUND))
    assert (half - wave / 2).abs().max() < 0.02
    assert torch.equal(augment.Gain(1.0, 1.0)(ids, SOUND), ids)
    moved = SOUND.waves(augment.Shift(share=0.1)(ids, SOUND))
    same = [
        any(torch.equal(m[max(s, 0) : 256 + s], w[max(-s, 0) : 256 - s]) for s in range(-26, 27))
        for m, w in zip(moved, wave)
    ]
    assert all(same)
    silent = SOUND.quantize(torch.zeros(1, 1)).item()
    masked = augment.TimeMask(share=0.5)(ids, SOUND)
    assert ((masked == ids) | (masked == silent)).all()
    noise = SOUND.quantize(0.2 * torch.randn(500, 256))
    left = SOUND.waves(augment.FrequencyMask(share=0.6)(noise, SOUND)).square().sum()
    assert abs(float(left / SOUND.waves(noise).square().sum()) - 0.7) < 0.03  # half of the most


def test_a_column_swap_keeps_the_marginals_and_changes_the_rows():
    ids, codec = table()
    out = augment.ColumnSwap(p=0.5)(ids, codec)
    assert torch.equal(out.sort(0).values, ids.sort(0).values)
    moved = (out[:, 2] != ids[:, 2]).float().mean()  # a column without repeats
    assert 0.3 < float(moved) < 0.7
    assert torch.equal(augment.ColumnSwap(p=0.0)(ids, codec), ids)


def test_jitter_moves_ordered_columns_and_no_missing_value():
    ids, codec = table()
    out = augment.Jitter(scale=3.0)(ids, codec)
    assert torch.equal(out[:, 1], ids[:, 1])
    assert torch.equal(out[:, 0] == 0, ids[:, 0] == 0)
    assert (out >= 0).all() and (out < torch.tensor(codec.space.levels)).all()
    assert (out != ids)[1:, 0].float().mean() > 0.4


def test_the_wrong_modality_and_no_probability_are_one_line():
    with pytest.raises(BadInput, match="augment=flip: for image, not audio"):
        check(augment.Flip(), "audio")
    with pytest.raises(BadInput, match=r"augment.flip.p=2: between 0 and 1"):
        check(augment.Flip(p=2), "image")


@pytest.mark.parametrize(
    ("family", "modality", "names"),
    [
        ("gan", "image", "flip,crop,colour"),
        ("autoregressive", "text", "token_dropout,span_mask"),
        ("vae", "audio", "gain,shift,time_mask,frequency_mask"),
        ("diffusion", "tabular", "column_swap,jitter"),
    ],
)
def test_each_family_trains_on_augmented_data(smoke, family: str, modality: str, names: str):
    words = [f"model={family}", f"modality={modality}", "budget.examples=64", "trainer.preview=0"]
    plain, changed = smoke(*words), smoke(*words, f"augment=[{names}]")
    assert plain.name != changed.name
    assert list(RunDir(changed).config["augment"]) == names.split(",")
    again = smoke(*words, f"augment=[{names}]", "study=again")
    file = "checkpoints/model.safetensors"
    assert (again / file).read_bytes() == (changed / file).read_bytes()
    assert (plain / file).read_bytes() != (changed / file).read_bytes()
    hashes = {RunDir(run).status["data"]["hash"] for run in (plain, changed)}
    assert len(hashes) == 1  # judged on the same data
