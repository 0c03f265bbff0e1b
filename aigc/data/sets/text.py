"""Standard texts, and your own file."""

import hashlib

from aigc.core.errors import BadInput
from aigc.data.datasets import Source, data_root, dataset, locate
from aigc.data.files import download, own_path, read_text

_SHAKESPEARE_SHA = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)


@dataset("text", licence="public domain")
def tinyshakespeare() -> Source:
    """Tiny Shakespeare: 1.1 M characters of plays (Karpathy 2015)."""
    hint = f"download {_SHAKESPEARE}"
    try:
        path = locate("text/tinyshakespeare/input.txt", "tinyshakespeare/input.txt", hint=hint)
    except BadInput as missing:
        path = data_root() / "tinyshakespeare" / "input.txt"
        download(
            _SHAKESPEARE,
            path,
            missing,
            lambda raw: hashlib.sha256(raw).hexdigest() == _SHAKESPEARE_SHA,
        )
    return Source({"train": [read_text(path)]})


@dataset("text", licence="CC BY-SA 3.0", splits="train/validation/test")
def wikitext2() -> Source:
    """WikiText-2: 2 M words of Wikipedia (Merity et al. 2016)."""
    folder = locate(
        "text/wikitext-2/train.txt",
        "wikitext2/train.txt",
        hint="put train.txt, valid.txt and test.txt there; wikitext2_valid needs valid.txt and test.txt only",
    ).parent
    names = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
    return Source({split: [read_text(folder / name)] for split, name in names.items()})


@dataset("text", licence="CC BY-SA 3.0", splits="train (official validation)/test")
def wikitext2_valid() -> Source:
    """WikiText-2's validation text used for training, its test text for testing: not the official task."""
    folder = locate("text/wikitext-2", "wikitext2", hint="put valid.txt and test.txt there")
    names = {"train": "valid.txt", "test": "test.txt"}
    return Source({split: [read_text(folder / name)] for split, name in names.items()})


@dataset("text", kind="own", licence="yours")
def text(path: str | None = None) -> Source:
    """Any UTF-8 text file, or a folder of .txt files (`dataset.path=FILE`)."""
    root = own_path(path, "text")
    files = sorted(root.rglob("*.txt")) if root.is_dir() else [root]
    if not files:
        raise BadInput(f"{root} holds no .txt file")
    return Source({"train": [read_text(file) for file in files]})
