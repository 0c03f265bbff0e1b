"""Vocabularies of text: fitted here, GPT-2's, or that of a pretrained model; and their bytes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aigc.core.errors import BadInput


def train_bpe(texts: Iterable[str], vocab: int) -> Any:
    """A byte-level BPE of `vocab` tokens (Sennrich et al. 2016; Radford et al. 2019)."""
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab, show_progress=False)
    return Tokenizer.from_str(bpe.to_str())


def read_gpt2(path: str | None) -> Any:
    """GPT-2's vocabulary from a folder with `vocab.json` and `merges.txt`."""
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    if path is None:
        raise BadInput(
            "tokenizer=gpt2 needs modality.codec.path, a folder with vocab.json and merges.txt"
        )
    files = [Path(path) / "vocab.json", Path(path) / "merges.txt"]
    if missing := [str(f) for f in files if not f.is_file()]:
        raise BadInput(f"GPT-2's vocabulary is not there: {', '.join(missing)}")
    return Tokenizer.from_str(ByteLevelBPETokenizer(*map(str, files)).to_str())


def read_hf(path: str | None) -> Any:
    """A pretrained model's `tokenizer.json`, from its folder or by its name on the hub."""
    from tokenizers import Tokenizer

    if path is None:
        raise BadInput("tokenizer=hf needs modality.codec.path, a folder or a name of the hub")
    file = Path(path) / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(file)) if file.is_file() else Tokenizer.from_pretrained(path)
    except Exception as error:  # tokenizers raises bare exceptions
        reason = str(error).splitlines()[0]
        raise BadInput(f"modality.codec.path={path} gives no tokenizer.json: {reason}") from error


def end_of(bpe: Any) -> int | None:
    """The token that closes a text in a pretrained vocabulary, if it has one."""
    names = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>")
    found = (bpe.token_to_id(name) for name in names)
    return next((i for i in found if i is not None), None)


def token_bytes(bpe: Any) -> list[bytes]:
    """The bytes of each token.

    Byte-level BPE writes byte b as a printable letter (Radford et al. 2019); SentencePiece with
    byte fallback writes a space as U+2581 and a lone byte as `<0x0A>` (Kudo & Richardson 2018).
    """
    vocab = bpe.get_vocab()
    special = {i for i, token in bpe.get_added_tokens_decoder().items() if token.special}
    read = _sentencepiece if getattr(bpe.model, "byte_fallback", False) else _byte_level()
    tokens = [b""] * (max(vocab.values()) + 1)
    for token, i in vocab.items():
        if i not in special:
            tokens[i] = read(token)
    return tokens


def _sentencepiece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def _byte_level() -> Any:
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    letters = {b: chr(b) for b in printable}
    letters |= {b: chr(256 + k) for k, b in enumerate(b for b in range(256) if b not in printable)}
    byte_of = {letter: bytes([b]) for b, letter in letters.items()}

    def read(token: str) -> bytes:
        known = all(letter in byte_of for letter in token)
        return b"".join(byte_of[c] for c in token) if known else token.encode()

    return read
