"""Texts in two parts, a prompt and the completion that is to be learned: questions, dialogues,
translations, gaps."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aigc.core.errors import BadInput
from aigc.data.datasets import Source, dataset, locate
from aigc.data.files import own_path, read_gzip, read_text

Pair = tuple[str, str]
GAP = "<gap>"


@dataset(
    "text",
    licence="MIT",
    splits="train/test",
    places=("text/gsm8k/train.jsonl", "gsm8k/train.jsonl"),
    hint="put train.jsonl and test.jsonl of openai/grade-school-math there",
)
def gsm8k() -> Source:
    """GSM8K: school mathematics, question to worked answer (Cobbe et al. 2021)."""
    folder = locate("gsm8k").parent
    files = {split: folder / f"{split}.jsonl" for split in ("train", "test")}
    read = _fields("question", "answer")
    return Source({split: _lines(file, read) for split, file in files.items()})


@dataset(
    "text",
    licence="MIT",
    splits="train/test",
    places=("text/chitchat/train.jsonl", "chitchat/train.jsonl"),
    hint='put train.jsonl and test.jsonl there, a dialogue {"turns": [...]} a line',
)
def chitchat() -> Source:
    """BYU chit-chat: a turn of a dialogue to the next (Myers et al. 2020)."""
    folder = locate("chitchat").parent
    files = {split: folder / f"{split}.jsonl" for split in ("train", "test")}
    return Source({split: _lines(file, _turns) for split, file in files.items()})


@dataset(
    "text",
    licence="research use",
    splits="train/validation/test",
    places=("text/multi30k/train.en.gz", "multi30k/train.en.gz"),
    hint="put train, val and test_2016_flickr .en.gz, .de.gz and .fr.gz there",
)
def multi30k(source: str = "en", target: str = "de") -> Source:
    """Multi30k: captions of photographs translated, English, German or French (Elliott et al.
    2016)."""
    folder = locate("multi30k").parent
    names = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
    parts = {}
    for split, name in names.items():
        texts = [
            read_gzip(folder / f"{name}.{language}.gz").splitlines()
            for language in (source, target)
        ]
        if len(texts[0]) != len(texts[1]):
            raise BadInput(f"{folder}: {name} has {len(texts[0])} and {len(texts[1])} lines")
        parts[split] = list(zip(*texts))
    return Source(parts)


@dataset("text", kind="own", licence="yours")
def pairs(path: str | None = None) -> Source:
    """Your pairs: a .jsonl with `prompt` and `completion` a line, or a folder with train.jsonl and,
    if you have them, validation.jsonl and test.jsonl."""
    root = own_path(path, "pairs")
    read = _fields("prompt", "completion")
    if not root.is_dir():
        return Source({"train": _lines(root, read)})
    files = {s: root / f"{s}.jsonl" for s in ("train", "validation", "test")}
    found = {split: _lines(file, read) for split, file in files.items() if file.is_file()}
    if "train" not in found:
        raise BadInput(f"{root} holds no train.jsonl")
    return Source(found)


@dataset("text", kind="own", licence="yours")
def infill(path: str | None = None, width: int = 96, seed: int = 0) -> Source:
    """Gaps to fill in a text file of yours: windows of `width` letters with a part replaced by
    `<gap>`, and that part.

    Prefix and suffix before the middle, as in Bavarian et al. 2022; both cuts are uniform.
    """
    text, random = read_text(own_path(path, "infill")), np.random.RandomState(seed)
    windows = [text[i : i + width] for i in range(0, len(text) - width + 1, width)]
    if not windows:
        raise BadInput(f"{path} has {len(text)} letters, fewer than dataset.width={width}")
    cuts = np.sort(random.randint(0, width + 1, (len(windows), 2)), 1)
    return Source({"train": [(w[:a] + GAP + w[b:], w[a:b]) for w, (a, b) in zip(windows, cuts)]})


def _lines(path: Path, read: Callable[[dict], list[Pair]]) -> list[Pair]:
    """What `read` finds in every line; an error names file and line."""
    out: list[Pair] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            out += read(json.loads(line)) if line.strip() else []
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path}:{number}: {type(error).__name__}: {error}") from error
    return out


def _fields(prompt: str, completion: str) -> Callable[[dict], list[Pair]]:
    def read(row: dict) -> list[Pair]:
        pair = row[prompt], row[completion]
        if not all(isinstance(text, str) for text in pair):
            raise TypeError(f"'{prompt}' and '{completion}' should be texts")
        return [pair]

    return read


def _turns(row: dict) -> list[Pair]:
    return list(zip(row["turns"], row["turns"][1:]))
