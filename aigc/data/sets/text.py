"""Standard texts, and your own file."""

import hashlib

from aigc.core.errors import BadInput
from aigc.data.datasets import DATASETS, Source, data_root, dataset, locate, missing
from aigc.data.files import download, own_path, read_text, readable

SPLITS = ("train", "validation", "test")
_SHAKESPEARE_SHA = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_SHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)


@dataset(
    "text",
    licence="public domain",
    places=("text/tinyshakespeare/input.txt", "tinyshakespeare/input.txt"),
    hint=f"download {_SHAKESPEARE}",
)
def tinyshakespeare() -> Source:
    """Tiny Shakespeare: 1.1 M characters of plays (Karpathy 2015)."""
    facts = DATASETS["tinyshakespeare"]
    path = facts.found() or data_root() / facts.places[-1]
    if not path.exists():
        download(_SHAKESPEARE, path, missing(facts), _is_shakespeare)
    return Source({"train": [read_text(path)]})


@dataset(
    "text",
    licence="CC BY-SA 3.0",
    splits="train/validation/test",
    places=("text/wikitext-2/train.txt", "wikitext2/train.txt"),
    hint="put train.txt, valid.txt, test.txt there (wikitext2_valid needs only the last two)",
)
def wikitext2() -> Source:
    """WikiText-2: 2 M words of Wikipedia (Merity et al. 2016)."""
    folder = locate("wikitext2").parent
    names = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
    return Source({split: [read_text(folder / name)] for split, name in names.items()})


@dataset(
    "text",
    licence="CC BY-SA 3.0",
    splits="train (official validation)/test",
    places=("text/wikitext-2/valid.txt", "wikitext2/valid.txt"),
    hint="put valid.txt and test.txt there",
)
def wikitext2_valid() -> Source:
    """WikiText-2's validation text as training text: not the official task."""
    folder = locate("wikitext2_valid").parent
    names = {"train": "valid.txt", "test": "test.txt"}
    return Source({split: [read_text(folder / name)] for split, name in names.items()})


@dataset("text", kind="own", licence="yours")
def text(path: str | None = None, skip: float | str | None = None) -> Source:
    """Any UTF-8 text file, or a folder: of train.txt, validation.txt and test.txt, or of any .txt
    files."""
    root = own_path(path, "text")
    files = sorted(root.rglob("*.txt")) if root.is_dir() else [root]
    if not files:
        raise BadInput(f"{root} holds no .txt file")
    splits = {f.stem: f for f in files if f.parent == root and f.stem in SPLITS}
    if "train" in splits:
        return Source({split: [read_text(file)] for split, file in splits.items()})
    _, texts, skipped = readable(files, read_text, skip)
    return Source({"train": texts}, skipped=skipped)


def _is_shakespeare(raw: bytes) -> bool:
    return hashlib.sha256(raw).hexdigest() == _SHAKESPEARE_SHA
