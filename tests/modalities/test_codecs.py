"""Codecs decode to the data they were given, up to the resolution that they state."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from aigc.core.errors import BadInput
from aigc.modalities.audio import AudioCodec
from aigc.modalities.image import ImageCodec, picture_grid
from aigc.modalities.tabular import TabularCodec
from aigc.modalities.text import TextCodec

TEXTS = ["The quick brown fox jumps over the lazy dog. " * 20, "Größe, 漢字 and 🙂. " * 30]


def again(codec, settings: dict, folder: Path):
    """The codec after a save and a load."""
    codec.save(folder)
    return type(codec)(**settings).load(folder)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_image_levels_are_fixed_points(levels: int, tmp_path: Path):
    raw = np.random.RandomState(0).randint(0, 256, (20, 3, 6, 5)).astype(np.uint8)
    codec = ImageCodec(levels=levels).fit([raw])
    ids = codec.encode(raw)
    assert ids.max() < levels and ids.min() >= 0
    assert np.abs(codec.decode(ids).astype(int) - raw).max() <= 128 // (levels - 1) + 1
    assert torch.equal(codec.encode(codec.decode(ids)), ids)
    assert torch.equal(again(codec, {"levels": levels}, tmp_path).encode(raw), ids)
    if levels == 256:
        assert np.array_equal(codec.decode(ids), raw)


def test_image_size_is_resized_with_antialiasing():
    raw = np.random.RandomState(0).randint(0, 256, (4, 1, 64, 64)).astype(np.uint8)
    ids = ImageCodec(size=8).fit([raw]).encode(raw)
    assert ids.shape == (4, 1, 8, 8)
    assert ids.float().std() < 20  # plain sampling would keep the noise's 74


def test_images_of_two_shapes_are_refused():
    with pytest.raises(BadInput, match="different shapes"):
        ImageCodec().fit([np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 5, 5))])


def test_picture_grid_puts_pictures_in_reading_order():
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    grid = picture_grid(pictures, gap=0, width=4)
    assert grid.tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2


@pytest.mark.parametrize("settings", [{"tokenizer": "bytes"}, {"tokenizer": "bpe", "vocab": 300}])
def test_text_round_trip(settings: dict, tmp_path: Path):
    settings = {"context": 16, **settings}
    codec = TextCodec(**settings).fit([TEXTS])
    ids = codec.encode(TEXTS)
    joined = b"".join(codec._bytes[i] for i in ids.flatten().tolist())
    assert "".join(TEXTS).encode().startswith(joined)
    assert codec.nbytes(ids).sum() == len(joined)
    assert codec.decode(ids)[0] == TEXTS[0][: len(codec.decode(ids)[0])]
    assert torch.equal(again(codec, settings, tmp_path).encode(TEXTS), ids)


def test_bpe_is_shorter_than_bytes():
    bpe = TextCodec(context=8, tokenizer="bpe", vocab=400).fit([TEXTS])
    assert bpe.nbytes(bpe.encode(TEXTS)).float().mean() > 16


def test_gpt2_vocabulary_from_a_folder(tmp_path: Path):
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, vocab_size=300, show_progress=False)
    tokenizer.save_model(str(tmp_path))
    codec = TextCodec(context=16, tokenizer="gpt2", path=str(tmp_path)).fit([TEXTS])
    assert codec.encode(TEXTS).flatten().tolist()[:20] == tokenizer.encode(TEXTS[0]).ids[:20]
    with pytest.raises(BadInput, match="not there"):
        TextCodec(tokenizer="gpt2", path=str(tmp_path / "no")).fit([TEXTS])


def test_too_little_text_is_refused():
    with pytest.raises(BadInput, match="fewer than one window"):
        TextCodec(context=64).encode(["short"])


@pytest.mark.parametrize("encoding", ["mulaw", "linear"])
def test_audio_round_trip(encoding: str, tmp_path: Path):
    t = np.arange(800) / 4000
    sound = np.sin(2 * np.pi * 440 * t) * np.linspace(1, 0.1, 800), 4000
    codec = AudioCodec(rate=4000, length=800, encoding=encoding, loudness="peak").fit([[sound]])
    ids = codec.encode([sound])
    wave, rate = codec.decode(ids)[0]
    assert rate == 4000
    assert np.abs(wave).max() == pytest.approx(10 ** (-1 / 20), abs=0.02)
    wanted = sound[0] / np.abs(sound[0]).max() * 10 ** (-1 / 20)
    assert np.abs(wave - wanted).max() < (0.02 if encoding == "mulaw" else 0.005)
    scaled = codec.encode([(sound[0] * 0.1, 4000)])
    assert (scaled - ids).abs().max() <= 1  # loudness is fixed


def test_sixteen_bit_audio_is_finer():
    wave = np.random.RandomState(0).uniform(-0.9, 0.9, 100)
    codec = AudioCodec(100, 100, encoding="linear", levels=65536, loudness="none")
    assert np.abs(codec.decode(codec.encode([(wave, 100)]))[0][0] - wave).max() < 2e-5


def test_audio_is_resampled_and_cut():
    tone = np.sin(2 * np.pi * 100 * np.arange(8000) / 8000), 8000
    codec = AudioCodec(rate=2000, length=500, encoding="linear", loudness="none")
    wave = codec.decode(codec.encode([tone]))[0][0]
    wanted = np.sin(2 * np.pi * 100 * np.arange(500) / 2000)
    assert np.abs(wave - wanted)[20:-20].max() < 0.02


def frame(n: int = 200) -> pd.DataFrame:
    r = np.random.RandomState(0)
    out = pd.DataFrame(
        {
            "real": r.randn(n),
            "count": r.randint(0, 5, n),
            "name": r.choice(["ann", "bob", "eve"], n),
            "flag": r.rand(n) > 0.5,
            "gappy": np.where(r.rand(n) > 0.3, r.randn(n), np.nan),
            "kind": pd.Categorical(r.choice(["x", "y"], n)),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(r.randint(0, 9, n), "D"),
            "constant": 7,
        }
    )
    out.loc[::7, "name"] = None
    return out


def test_table_round_trip(tmp_path: Path):
    table = frame()
    codec = TabularCodec(bins=16).fit([table])
    ids = codec.encode(table)
    back = codec.decode(ids)
    assert list(back.columns) == list(table.columns)
    assert back.dtypes.tolist() == table.dtypes.tolist()
    for name in ("count", "name", "flag", "kind", "day", "constant"):
        pd.testing.assert_series_equal(back[name], table[name], check_categorical=False)
    assert back["gappy"].isna().equals(table["gappy"].isna())
    assert np.corrcoef(back["real"], table["real"])[0, 1] > 0.97
    assert torch.equal(codec.encode(back), ids)
    assert torch.equal(again(codec, {"bins": 16}, tmp_path).encode(table), ids)


def test_quantile_bins_are_equally_full_and_uniform_ones_equally_wide():
    x = pd.DataFrame({"x": np.random.RandomState(0).exponential(size=3200)})
    full = torch.bincount(TabularCodec(bins=32).fit([x]).encode(x)[:, 0])
    assert full.min() >= 99 and full.max() <= 101
    codec = TabularCodec(bins=4, binning="uniform").fit([x])
    edges = np.diff(codec.columns[0]["edges"])
    assert edges == pytest.approx(np.full(2, edges[0]))


def test_table_errors_name_the_column():
    codec = TabularCodec().fit([frame()])
    with pytest.raises(BadInput, match="lacks the columns name"):
        codec.encode(frame().drop(columns="name"))
    with pytest.raises(BadInput, match="'kind' holds 'z'"):
        codec.encode(frame().assign(kind="z"))
    with pytest.raises(BadInput, match="infinite"):
        TabularCodec().fit([pd.DataFrame({"x": [1.0, np.inf]})])
    with pytest.raises(BadInput, match="empty"):
        TabularCodec().fit([pd.DataFrame()])


@pytest.mark.parametrize(
    ("codec", "raw"),
    [
        (ImageCodec(), np.zeros((3, 1, 8, 8), np.uint8)),
        (TextCodec(context=16), TEXTS),
        (AudioCodec(2000, 256), [(np.zeros(256), 2000)] * 3),
        (TabularCodec(), frame()),
    ],
    ids=["image", "text", "audio", "tabular"],
)
def test_features_and_rendered_files(codec, raw, tmp_path: Path):
    ids = codec.fit([raw]).encode(raw)[:3]
    features = codec.features(ids)
    assert features.shape[0] == 3 and features.ndim == 2 and torch.isfinite(features).all()
    files = codec.render(ids, tmp_path)
    assert files and all(f.stat().st_size for f in files)
