"""Extractors that read files: against reference networks with the same random weights, and what
they say of a wrong file."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aigc.core.errors import BadInput
from aigc.metrics import pretrained
from aigc.metrics.classifier import Classifier
from aigc.metrics.efficientnet import HALVES, EfficientNet, pad_same
from aigc.metrics.encoders import Encoder, WordLlama
from aigc.metrics.lpips import LPIPS
from aigc.metrics.yamnet import YAMNet, mel_bands, patches


@pytest.fixture
def any_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights made by the test are taken for the right ones."""
    for module in ("pretrained", "encoders"):
        monkeypatch.setattr(f"aigc.metrics.{module}.check", lambda path, sha256: None)


def test_another_file_and_none_are_refused(tmp_path: Path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="is another file: its sha256 is"):
        LPIPS(tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="cannot read"):
        pretrained.read(tmp_path / "b.safetensors", "")


def test_lpips_is_that_of_torchmetrics(tmp_path: Path, any_file: None):
    """The same random backbone and the same random weights of its channels."""
    from torchmetrics.functional.image.lpips import _LPIPS

    torch.manual_seed(0)
    theirs = _LPIPS(pretrained=False, net="alex", pnet_rand=True).eval()
    slices = [getattr(theirs.net, f"slice{i}") for i in range(1, 6)]
    convs = [m for part in slices for m in part if isinstance(m, torch.nn.Conv2d)]
    tensors = {
        f"convs.{i}.{n}": p.data for i, c in enumerate(convs) for n, p in c.named_parameters()
    }
    for i, lin in enumerate(theirs.lins):
        weight = next(lin.parameters()).data.abs_()
        tensors[f"lins.{i}"] = weight
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, tmp_path / "w.safetensors")
    a, b = torch.rand(2, 3, 64, 48), torch.rand(2, 3, 64, 48)
    ours = LPIPS(tmp_path / "w.safetensors")
    with torch.no_grad():
        wanted = theirs(2 * a - 1, 2 * b - 1).flatten()
    assert torch.allclose(ours.distance(a, b), wanted, rtol=1e-4)
    assert ours.distance(a, a).abs().max() == 0


def efficientnet_weights() -> dict[str, torch.Tensor]:
    """Random weights of the right shapes: kernels 3 and 5, expansion 6, widths of Lite0."""
    generator, out = torch.Generator().manual_seed(0), {}

    def conv(name: str, norm: str, out_c: int, in_c: int, k: int) -> None:
        scale = (2 / (in_c * k * k)) ** 0.5
        out[f"{name}.weight"] = torch.randn(out_c, in_c, k, k, generator=generator) * scale
        for part, value in (("running_mean", 0.0), ("running_var", 1.0), ("bias", 0.1)):
            out[f"{norm}.{part}"] = torch.full((out_c,), value)
        out[f"{norm}.weight"] = 0.5 + torch.rand(out_c, generator=generator)

    conv("_conv_stem", "_bn0", 32, 3, 3)
    widths = [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
    kernels = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
    before = 32
    for i, (width, kernel) in enumerate(zip(widths, kernels)):
        inner = before * (6 if i else 1)
        if i:
            conv(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", inner, before, 1)
        conv(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", inner, 1, kernel)
        conv(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", width, inner, 1)
        before = width
    conv("_conv_head", "_bn1", 1280, 320, 1)
    return out


def test_efficientnet_reads_its_layout(tmp_path: Path, any_file: None, monkeypatch):
    save_file(efficientnet_weights(), tmp_path / "w.safetensors")
    net = EfficientNet(tmp_path / "w.safetensors")
    pictures = np.random.RandomState(0).randint(0, 256, (3, 1, 8, 8)).astype(np.uint8)
    found = net(pictures)
    assert found.shape == (3, 1280) and found.isfinite().all() and found.std() > 0
    assert torch.allclose(found, net(pictures.repeat(3, 1)))  # grey is three equal colours
    assert torch.allclose(found[1:], net(pictures[1:]), atol=1e-5)
    assert len(HALVES) == 4  # 224 / 2 / 2**4 = 7 pixels left
    with pytest.raises(BadInput, match="looks at 1 or 3 channels"):
        net(pictures.repeat(2, 1))


def test_padding_is_that_of_tensorflow():
    x = torch.ones(1, 1, 7, 8)
    assert pad_same(x, 3, 2).shape[2:] == (9, 9)
    assert pad_same(x, 3, 2)[0, 0, 1].tolist() == [1] * 8 + [0]  # the odd zero at the end
    assert pad_same(x, 5, 1).shape[2:] == (11, 12)


def test_yamnet_reads_its_layout(tmp_path: Path, any_file: None):
    generator, stored = torch.Generator().manual_seed(0), {}

    def layer(name: str, *shape: int) -> None:
        stored[f"{name}.weight_int8"] = torch.randint(
            -127, 128, shape, generator=generator, dtype=torch.int8
        )
        fan = shape[1] * shape[2] * shape[3]
        stored[f"{name}.scale"] = torch.full(shape[:1], (2 / fan) ** 0.5 / 73)
        stored[f"{name}.bias"] = torch.full(shape[:1], 0.05)

    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    layer("conv0", 32, 1, 3, 3)
    for i, (inp, out) in enumerate(pairwise(widths), 1):
        layer(f"sep{i}.depth", inp, 1, 3, 3)
        layer(f"sep{i}.point", out, inp, 1, 1)
    save_file(stored, tmp_path / "w.safetensors")
    net = YAMNet(tmp_path / "w.safetensors")
    t = np.arange(4000) / 4000
    sounds = [(np.sin(2 * np.pi * f * t).astype(np.float32), 4000) for f in (220, 880)]
    found = net(sounds)
    assert found.shape == (2, 1024) and found.isfinite().all()
    assert torch.allclose(found[1:], net(sounds[1:]), atol=1e-5)
    assert (found[0] - found[1]).norm() > 1e-3


def test_mel_bands_share_what_lies_between_their_centres():
    bands, hertz = mel_bands(), torch.arange(257) * 16_000 / 512
    inside = (hertz > 200) & (hertz < 7200)
    assert torch.allclose(bands[inside].sum(1), torch.ones(int(inside.sum())), atol=1e-5)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    loudest = int(patches(tone)[0].mean(0).argmax())
    assert abs(hertz[bands[:, loudest].argmax()] - 1000) < 60
    assert patches(tone).shape == (1, 96, 64) and patches(tone[:100]).shape == (1, 96, 64)


def test_wordllama_is_the_mean_of_its_vectors(tmp_path: Path, any_file: None):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / WordLlama.tokens))
    vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 0.0]])
    save_file({"embedding.weight": vectors.half()}, tmp_path / "w.safetensors")
    found = WordLlama(tmp_path / "w.safetensors")(["a b", "b", ""])
    assert found.tolist() == [[2, 1], [3, 0], [0, 0]]


def test_any_encoder_of_transformers_gives_features(tmp_path: Path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=5, intermediate_size=32, **sizes)
    BertModel(config).eval().save_pretrained(tmp_path / "bert")
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "b": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="?")
    fast.save_pretrained(tmp_path / "bert")
    net = Encoder(tmp_path / "bert", "text")
    found = net(["a b a", "b"])
    assert found.shape == (2, 16) and net.id == "hf-bert"
    assert torch.allclose(found[1:], net(["b"]), atol=1e-5)  # padding does not count
    with pytest.raises(BadInput, match="holds no encoder"):
        Encoder(tmp_path, "text")


@pytest.mark.parametrize("shape", [(1, 8, 8), (6,)], ids=["picture", "row"])
def test_the_classifier_learns_and_comes_back_from_its_file(shape: tuple, tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 3
    x = torch.randn(400, *shape, generator=generator) * 0.3
    x += y.float().view(-1, *[1] * len(shape))
    found = Classifier.fit(x[:300], y[:300], 3, 8)
    assert found.score(x[300:], y[300:]) > 0.9
    assert found.id == f"clf8-{100 * found.accuracy:.0f}%"
    again = Classifier.fit(x[:300], y[:300], 3, 8)
    assert again.sha == found.sha
    found.save(tmp_path / "c")
    loaded = Classifier.load(tmp_path / "c")
    assert (loaded.id, loaded.sha) == (found.id, found.sha)
    assert torch.equal(loaded(x), found(x)) and found(x).shape == (400, 8)
    assert torch.allclose(found.probs(x).sum(1), torch.ones(400).double())
