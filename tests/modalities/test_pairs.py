"""Pairs of prompt and completion as ids, and pretrained vocabularies."""

import json
from pathlib import Path

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.spec import completion
from aigc.modalities.text import TextCodec

PAIRS = [("2 + 2 =", "4"), ("the quick", "brown fox"), ("Größe?", "漢字 🙂"), ("", "no prompt")]


def byte_level(folder: Path) -> Path:
    """A byte-level vocabulary with an end, as pretrained models bring it."""
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["the quick brown fox "] * 9, 300, special_tokens=["<|endoftext|>"])
    bpe.save(str(folder / "tokenizer.json"))
    return folder


def sentencepiece(folder: Path) -> Path:
    """SentencePiece's kind: U+2581 for a space, single bytes as a last resort."""
    special = ["<unk>", "<s>", "</s>"]
    pieces = [*special, *(f"<0x{b:02X}>" for b in range(256)), "▁", "a", "b", "▁a", "ab"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    added = [
        {"id": i, "content": t, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for i, t in enumerate(special)
    ]  # fmt: skip
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    model = {
        "type": "BPE", "vocab": vocab, "merges": [["▁", "a"], ["a", "b"]], "byte_fallback": True,
        "unk_token": "<unk>", "fuse_unk": True,
    }  # fmt: skip
    tokenizer = {"version": "1.0", "normalizer": spaces, "added_tokens": added, "model": model}
    tokenizer |= dict.fromkeys(("truncation", "padding", "pre_tokenizer", "post_processor"))
    tokenizer |= {"decoder": {"type": "ByteFallback"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize("kind", ["bytes", "bpe", "hf"])
def test_pairs_come_back(kind: str, tmp_path: Path):
    settings = {"context": 24, "tokenizer": kind, "vocab": 260}
    if kind == "hf":
        settings["path"] = str(byte_level(tmp_path))
    codec = TextCodec(**settings).fit([PAIRS])
    ids = codec.encode(PAIRS)
    assert ids.shape == (4, 24) and ids.max() < codec.space.levels
    assert codec.decode(ids) == [f"{a}\n{b}" for a, b in PAIRS]
    prompts, texts = codec.beginnings(ids)
    assert texts == [b for _, b in PAIRS]
    for (first, _), prompt, row in zip(PAIRS, prompts, ids):
        assert torch.equal(prompt, codec.prompt(first))
        assert torch.equal(row[: len(prompt)], prompt) and prompt[-1] == codec.space.end
    assert codec.nbytes(ids).tolist() == [len(b.encode()) for _, b in PAIRS]
    inside = completion(ids, codec.space.end)
    assert torch.equal(inside.sum(1), torch.tensor([len(codec.words(b)) + 1 for _, b in PAIRS]))
    codec.save(tmp_path)
    again = TextCodec(**settings).load(tmp_path)
    assert torch.equal(again.encode(PAIRS), ids) and again.space == codec.space


def test_a_pretrained_vocabulary_has_its_own_end(tmp_path: Path):
    codec = TextCodec(24, "hf", path=str(byte_level(tmp_path))).fit([PAIRS])
    assert codec.space.end == 0 and codec.space.levels == codec._bpe.get_vocab_size()
    assert TextCodec(24, "bytes").fit([PAIRS]).space.end == 256


def test_sentencepiece_is_lossless(tmp_path: Path):
    codec = TextCodec(4, "hf", path=str(sentencepiece(tmp_path))).fit([["x"]])
    text = "ab aab ö  a🙂 "
    tokens = codec.prompt(text)
    padded = torch.cat([tokens, tokens[:1].repeat(-len(tokens) % 4)])
    assert codec.decode(tokens[:4][None]) == ["ab aab "]
    assert codec._text(tokens.tolist()) == text
    assert codec.nbytes(padded.view(-1, 4)).sum() >= len(text.encode())


def test_pairs_that_do_not_fit_are_left_out():
    codec = TextCodec(9).fit([PAIRS])
    assert codec.decode(codec.encode([("ab", "cd"), ("a", "x" * 20)])) == ["ab\ncd"]
    with pytest.raises(BadInput, match="no pair fits into 9 tokens"):
        codec.encode([("a", "x" * 20)])


def test_windows_begin_with_their_first_half():
    codec = TextCodec(8)
    ids = codec.encode(["abcdefghijklmnop"])
    prompts, texts = codec.beginnings(ids)
    assert texts == ["efgh", "mnop"] and codec.decode(torch.stack(prompts)) == ["abcd", "ijkl"]


def test_a_missing_vocabulary_is_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"tokenizer=hf needs modality\.codec\.path"):
        TextCodec(tokenizer="hf").fit([["x"]])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match=r"gives no tokenizer\.json"):
        TextCodec(tokenizer="hf", path=str(tmp_path)).fit([["x"]])
