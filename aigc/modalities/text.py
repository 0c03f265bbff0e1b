"""Text: windows of bytes, of a BPE vocabulary fitted here, or of GPT-2's vocabulary from a
folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.modalities.base import Codec


class TextCodec(Codec):
    """Documents to ids `(N, context)`: the documents end to end, cut into windows; a last part
    window is dropped.

    `tokenizer` is `bytes` (256 levels), `bpe` (byte-level BPE of `vocab` tokens fitted on the
    data) or `gpt2` (`vocab.json` and `merges.txt` in folder `path`). All are lossless on bytes,
    so likelihoods compare in bits per byte whatever the vocabulary.
    """

    modality = "text"

    def __init__(
        self,
        context: int = 64,
        tokenizer: Literal["bytes", "bpe", "gpt2"] = "bytes",
        vocab: int = 512,
        path: str | None = None,
    ):
        if tokenizer not in ("bytes", "bpe", "gpt2"):
            raise BadInput(f"modality.codec.tokenizer={tokenizer}: choose from bpe, bytes, gpt2")
        if tokenizer == "bpe" and vocab < 257:
            raise BadInput(f"modality.codec.vocab={vocab}: a byte-level BPE needs at least 257")
        self.context, self.tokenizer, self.vocab, self.path = context, tokenizer, vocab, path
        self._bpe = None
        if tokenizer == "bytes":
            self._set(None)

    def fit(self, parts: list[Sequence[str]]) -> Self:
        """Learn the merges where the tokenizer is `bpe`; read them where it is `gpt2`."""
        if self.tokenizer == "bpe":
            self._set(_train_bpe((text for part in parts for text in part), self.vocab))
        elif self.tokenizer == "gpt2":
            self._set(_read_gpt2(self.path))
        return self

    def encode(self, raw: Sequence[str]) -> Tensor:
        """Documents to windows `(N, context)`; raises BadInput when there is not one whole
        window."""
        stream = torch.cat([self.prompt(text) for text in raw])
        windows = len(stream) // self.context
        if not windows:
            raise BadInput(
                f"the text has {len(stream)} tokens, fewer than one window of {self.context}: "
                "give more text or set modality.codec.context"
            )
        return stream[: windows * self.context].view(windows, self.context)

    def prompt(self, text: str) -> Tensor:
        """The tokens of `text`."""
        if self._bpe is None:
            return torch.tensor(list(text.encode()), dtype=torch.long)
        return torch.tensor(self._bpe.encode(text).ids, dtype=torch.long)

    def decode(self, ids: Tensor) -> list[str]:
        """Ids to text; bytes that are not UTF-8 (a window may cut a letter) become U+FFFD."""
        return [
            b"".join(self._bytes[i] for i in row).decode("utf-8", "replace") for row in ids.tolist()
        ]

    def nbytes(self, ids: Tensor) -> Tensor:
        """Bytes of text in each window."""
        return self._lengths.to(ids.device)[ids].sum(1)

    def field(self, ids: Tensor) -> Tensor:
        """A fixed random unit vector of 32 numbers a token, `(B, 32, T)`."""
        generator = torch.Generator().manual_seed(0)
        table = (
            F.normalize(torch.randn(self.space.levels, 32, generator=generator), dim=1) * 32**0.5
        )
        return F.embedding(ids, table.to(ids.device)).transpose(1, 2)

    def features(self, ids: Tensor) -> Tensor:
        """Square roots of the frequencies of 1-, 2- and 3-grams hashed to 512 cells each, `(B,
        1536)`."""
        parts = []
        for n in (1, 2, 3):
            grams = ids.unfold(1, n, 1)
            key = torch.zeros_like(grams[..., 0])
            for j in range(n):
                key = (key * 1_000_003 + grams[..., j] + 1) % 2_147_483_647
            counts = torch.zeros(len(ids), 512, device=ids.device)
            counts.scatter_add_(1, key % 512, torch.ones_like(key, dtype=counts.dtype))
            parts.append((counts / grams.shape[1]).sqrt())
        return torch.cat(parts, dim=1)

    def render(self, ids: Tensor, folder: Path) -> list[Path]:
        """One text file; the samples between lines of dashes."""
        path = folder / "samples.txt"
        path.write_text("\n--------\n".join(self.decode(ids)) + "\n", encoding="utf-8")
        return [path]

    def state(self) -> dict[str, Any]:
        """The tokenizer, in the format of `tokenizers`."""
        return {"tokenizer": self._bpe.to_str() if self._bpe else None}

    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        from tokenizers import Tokenizer

        self._set(Tokenizer.from_str(state["tokenizer"]) if state["tokenizer"] else None)
        return self

    def _set(self, bpe: Any) -> None:
        self._bpe = bpe
        self._bytes = [bytes([i]) for i in range(256)] if bpe is None else _token_bytes(bpe)
        self._lengths = torch.tensor([len(b) for b in self._bytes])
        self.space = Space((self.context,), len(self._bytes), ordered=False)


def _train_bpe(texts: Any, vocab: int) -> Any:
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocab, show_progress=False)
    return Tokenizer.from_str(bpe.to_str())


def _read_gpt2(path: str | None) -> Any:
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    if path is None:
        raise BadInput(
            "tokenizer=gpt2 needs modality.codec.path, a folder with vocab.json and merges.txt"
        )
    files = [Path(path) / "vocab.json", Path(path) / "merges.txt"]
    if missing := [str(f) for f in files if not f.is_file()]:
        raise BadInput(f"GPT-2's vocabulary is not there: {', '.join(missing)}")
    return Tokenizer.from_str(ByteLevelBPETokenizer(*map(str, files)).to_str())


def _token_bytes(bpe: Any) -> list[bytes]:
    """The bytes of each token: byte-level BPE writes byte b as a printable letter (Radford et
    al. 2019)."""
    from tokenizers import pre_tokenizers

    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    letters = {b: chr(b) for b in printable}
    letters |= {b: chr(256 + k) for k, b in enumerate(b for b in range(256) if b not in printable)}
    assert set(letters.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    byte_of = {letter: bytes([b]) for b, letter in letters.items()}
    vocab = bpe.get_vocab()
    tokens = [b""] * (max(vocab.values()) + 1)
    for token, i in vocab.items():
        known = all(letter in byte_of for letter in token)
        tokens[i] = b"".join(byte_of[c] for c in token) if known else token.encode()
    return tokens
