"""Features by encoders of `transformers` and by tables of token vectors, from files of the
user's."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.metrics.features import EXTRACTORS
from aigc.metrics.pretrained import check, read

BATCH = 64


class WordLlama:
    """Means of static vectors of the tokens of a text, 256 a text; English."""

    source, modalities, id = "data", frozenset({"text"}), "wordllama256"
    file = "wordllama/l2_supercat_256.safetensors"
    sha256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
    tokens = "l2_supercat_tokenizer_config.json"  # beside it
    tokens_sha256 = "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"

    def __init__(self, path: Path, modality: str = "text"):
        from tokenizers import Tokenizer

        self.vectors = read(path, self.sha256)["embedding.weight"]
        check(path.with_name(self.tokens), self.tokens_sha256)
        self.tokenizer = Tokenizer.from_file(str(path.with_name(self.tokens)))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.sha = self.sha256[:6]

    def __call__(self, texts: list[str]) -> Tensor:
        """`(n, 256)`; of a text without tokens, the vector of the unknown one."""
        found = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        rows = [self.vectors[torch.tensor(text.ids or [0])].mean(0) for text in found]
        return torch.stack(rows).double()


class Encoder:
    """Any encoder that `transformers` reads from a folder: its last hidden states, averaged over
    tokens, patches or frames."""

    source, modalities = "data", frozenset({"text", "image", "audio"})

    def __init__(self, path: Path, modality: str):
        from transformers import AutoModel

        try:
            self.net = AutoModel.from_pretrained(path, local_files_only=True).eval()
            self.prepare = _preparation(path, modality)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} holds no encoder of {modality}: {error}") from error
        self.id, self.sha, self.modality = f"hf-{path.name}", content(path), modality

    @torch.no_grad()
    def __call__(self, data: Any) -> Tensor:
        """`(n, d)` of texts, pictures or sounds."""
        parts = [data[i : i + BATCH] for i in range(0, len(data), BATCH)]
        return torch.cat([self._features(part) for part in parts]).double()

    def _features(self, part: Any) -> Tensor:
        given = self.prepare(part)
        states = self.net(**given).last_hidden_state
        if states.ndim == 4:  # a map of a convolutional network
            return states.mean((2, 3))
        mask = given.get("attention_mask")
        if mask is None or mask.shape != states.shape[:2]:
            return states.mean(1)
        return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def _preparation(path: Path, modality: str) -> Any:
    """What makes the network's arguments of texts, pictures or sounds."""
    import transformers

    local = {"local_files_only": True}
    if modality == "text":
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, **local)
        options = {"padding": True, "truncation": True, "return_tensors": "pt"}
        return lambda texts: tokenizer(list(texts), **options)
    if modality == "image":
        pictures = transformers.AutoImageProcessor.from_pretrained(path, **local)
        return lambda part: pictures(
            [x.repeat(3, 0) if len(x) == 1 else x for x in part], return_tensors="pt"
        )
    sounds = transformers.AutoFeatureExtractor.from_pretrained(path, **local)
    return lambda part: _resampled(sounds, part)


def _resampled(extractor: Any, sounds: list) -> dict[str, Tensor]:
    """Sounds at the rate that the network was trained on."""
    from torchaudio.functional import resample

    rate = extractor.sampling_rate
    waves = [resample(torch.as_tensor(w), own, rate).numpy() for w, own in sounds]
    return extractor(waves, sampling_rate=rate, padding=True, return_tensors="pt")


def content(path: Path) -> str:
    """A hash of the weights that lie in a folder; BadInput where there are none."""
    files = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    if not files:
        raise BadInput(f"{path} holds no weights")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:6]


EXTRACTORS.add("wordllama", WordLlama)
EXTRACTORS.add("hf", Encoder)
