"""Text: windows of bytes or of a BPE vocabulary, or pairs of a prompt and its completion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Space, completion
from aigc.modalities.base import Codec, TooShort
from aigc.modalities.tokenizers import end_of, read_gpt2, read_hf, token_bytes, train_bpe

TOKENIZERS = ("bytes", "bpe", "gpt2", "hf")
Raw = Sequence[str] | Sequence[tuple[str, str]] | np.ndarray


class TextCodec(Codec):
    """Documents to ids `(N, context)`: the documents end to end, cut into windows; a last part
    window is dropped.

    Pairs `(prompt, completion)` become `prompt, end, completion, end, end ...`, an example each;
    those longer than the context are left out. `tokenizer` is `bytes` (256 levels), `bpe`
    (byte-level BPE of `vocab` tokens fitted on the data), `gpt2` (`vocab.json` and `merges.txt`
    in folder `path`) or `hf` (`tokenizer.json` of a folder or hub name `path`). Byte-level ones
    are lossless, so likelihoods compare in bits per byte whatever the vocabulary.
    """

    modality = "text"

    def __init__(
        self,
        context: int = 64,
        tokenizer: Literal["bytes", "bpe", "gpt2", "hf"] = "bytes",
        vocab: int = 512,
        path: str | None = None,
    ):
        if tokenizer not in TOKENIZERS:
            raise BadInput(
                f"modality.codec.tokenizer={tokenizer}: choose from {', '.join(sorted(TOKENIZERS))}"
            )
        if tokenizer == "bpe" and vocab < 257:
            raise BadInput(f"modality.codec.vocab={vocab}: a byte-level BPE needs at least 257")
        self.context, self.tokenizer, self.vocab, self.path = context, tokenizer, vocab, path
        self._bpe, self.pairs = None, False
        if tokenizer == "bytes":
            self._set(None, False)

    def fit(self, parts: list[Raw]) -> Self:
        """Learn the merges where the tokenizer is `bpe`; read them where it is pretrained."""
        parts = [part for part in parts if not isinstance(part, np.ndarray)]
        pairs = bool(parts) and bool(parts[0]) and not isinstance(parts[0][0], str)
        bpe = None
        if self.tokenizer == "bpe":
            if not parts:
                raise BadInput("tokens are there already: name their modality.codec.tokenizer")
            items = (item for part in parts for item in part)
            texts = (text for item in items for text in (item if pairs else [item]))
            bpe = train_bpe(texts, self.vocab)
        elif self.tokenizer != "bytes":
            bpe = read_gpt2(self.path) if self.tokenizer == "gpt2" else read_hf(self.path)
        self._set(bpe, pairs)
        return self

    def encode(self, raw: Raw) -> Tensor:
        """Documents (or their tokens `(T,)`) to windows, or pairs to examples, `(N, context)`;
        raises TooShort when there is not one."""
        if self.pairs:
            return self._encode_pairs(raw)
        if isinstance(raw, np.ndarray):
            stream = self._checked(raw)
        else:
            stream = torch.cat([self._tokens(text) for text in raw])
        windows = len(stream) // self.context
        if not windows:
            raise TooShort(
                f"the text has {len(stream)} tokens, fewer than one window of {self.context}: "
                "give more text or set modality.codec.context"
            )
        return stream[: windows * self.context].view(windows, self.context)

    def prompt(self, text: str) -> Tensor:
        """The tokens of `text`; where data are pairs, closed by `end`."""
        tokens = self._tokens(text)
        return torch.cat([tokens, torch.tensor([self.space.end])]) if self.pairs else tokens

    def words(self, text: str) -> list[int]:
        """The tokens of `text` as they stand inside an example."""
        return self._tokens(text).tolist()

    def pieces(self, ids: Tensor) -> list[str]:
        """The text of each token of one example `(T,)`."""
        return [self._text([token]) for token in ids.tolist()]

    def beginnings(self, ids: Tensor) -> tuple[list[Tensor], list[str]]:
        """Each example as a prompt, and the text that follows: the two parts of a pair, the
        halves of a window."""
        if not self.pairs:
            half = ids.shape[1] // 2
            return list(ids[:, :half]), self.decode(ids[:, half:])
        sizes = (ids == self.space.end).int().argmax(1) + 1
        return [row[:size] for row, size in zip(ids, sizes.tolist())], self.endings(ids)

    def endings(self, ids: Tensor) -> list[str]:
        """The text that follows the prompt in each example; see `beginnings`."""
        if not self.pairs:
            return self.decode(ids[:, ids.shape[1] // 2 :])
        inside = completion(ids, self.space.end)
        return [self._text(row[keep].tolist()) for row, keep in zip(ids, inside)]

    def decode(self, ids: Tensor) -> list[str]:
        """Ids to text, a pair as two lines; bytes that are not UTF-8 (a window may cut a letter)
        become U+FFFD."""
        if not self.pairs:
            return [self._text(row) for row in ids.tolist()]
        prompts, texts = self.beginnings(ids)
        return [f"{self._text(p.tolist())}\n{text}" for p, text in zip(prompts, texts)]

    def nbytes(self, ids: Tensor) -> Tensor:
        """Bytes of text in each window, or of each completion."""
        lengths = self._lengths.to(ids.device)[ids]
        return (lengths * completion(ids, self.space.end)).sum(1)

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

    def export(self, folder: Path) -> None:
        """Write `tokenizer.json`; bytes have none."""
        super().export(folder)
        if self._bpe is not None:
            self._bpe.save(str(folder / "tokenizer.json"))

    def state(self) -> dict[str, Any]:
        """The tokenizer, in the format of `tokenizers`, and whether data are pairs."""
        return {"tokenizer": self._bpe.to_str() if self._bpe else None, "pairs": self.pairs}

    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        from tokenizers import Tokenizer

        bpe = Tokenizer.from_str(state["tokenizer"]) if state["tokenizer"] else None
        self._set(bpe, state.get("pairs", False))
        return self

    def _set(self, bpe: Any, pairs: bool) -> None:
        self._bpe, self.pairs = bpe, pairs
        self._bytes = [bytes([i]) for i in range(256)] if bpe is None else token_bytes(bpe)
        end = -1
        if pairs:  # a pretrained vocabulary has a token for it, others get one more
            own = end_of(bpe) if bpe else None
            end = len(self._bytes) if own is None else own
            self._bytes[end:] = [b"", *self._bytes[end + 1 :]]
        self._lengths = torch.tensor([len(b) for b in self._bytes])
        self.space = Space((self.context,), len(self._bytes), ordered=False, end=end)

    def _tokens(self, text: str) -> Tensor:
        if self._bpe is None:
            raw = bytearray(text.encode())
            return torch.frombuffer(raw, dtype=torch.uint8).long() if raw else torch.empty(0).long()
        return torch.tensor(self._bpe.encode(text, add_special_tokens=False).ids).long()

    def _checked(self, tokens: np.ndarray) -> Tensor:
        if (top := int(tokens.max(initial=0))) >= self.space.levels or int(
            tokens.min(initial=0)
        ) < 0:
            raise BadInput(
                f"token {top} is not of this vocabulary of {self.space.levels}: "
                "modality.codec.tokenizer says which it is"
            )
        return torch.from_numpy(tokens.astype(np.int64))

    def _text(self, tokens: list[int]) -> str:
        return b"".join(self._bytes[i] for i in tokens).decode("utf-8", "replace")

    def _encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        end, rows = self.space.end, []
        for first, second in pairs:
            tokens = [*self.words(first), end, *self.words(second), end]
            if len(tokens) <= self.context:
                rows.append(tokens + [end] * (self.context - len(tokens)))
        if not rows:
            raise BadInput(
                f"no pair fits into {self.context} tokens: set modality.codec.context larger"
            )
        return torch.tensor(rows)
