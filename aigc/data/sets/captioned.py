"""Pictures with captions: what a text-to-image model learns from."""

import json
import re

import numpy as np

from aigc.core.errors import BadInput
from aigc.data.datasets import Source, dataset, locate

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
COUNTS = ["one", "two", "three", "four"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

SKINS = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}


@dataset("image", kind="embedded", licence="CC BY 4.0 (UCI)", splits="train/validation/test")
def captioned_digits(n: int = 10_000, seed: int = 0) -> Source:
    """One to four digits of a kind in one of four colours, 16 x 16, and a caption that says so
    ("three sevens in red"), composed of scikit-learn's digits.

    Each digit fills a quadrant. The three splits are composed of different handwriting.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    pictures = np.round(x * (255 / 16)).reshape(-1, 8, 8)
    rng = np.random.RandomState(seed)
    order = rng.permutation(len(y))
    cuts = np.cumsum([round(0.7 * len(y)), round(0.1 * len(y))])
    sizes = {"train": round(0.8 * n), "validation": round(0.1 * n), "test": round(0.1 * n)}
    parts, captions = {}, {}
    for (split, count), rows in zip(sizes.items(), np.split(order, cuts)):
        made = [_compose(pictures[rows], y[rows], rng) for _ in range(count)]
        parts[split] = np.stack([picture for picture, _ in made])
        captions[split] = [text for _, text in made]
    return Source(parts, captions=captions)


@dataset(
    "image",
    licence="Apache-2.0 (Noto Emoji)",
    places=("image/emoji/index.jsonl", "emoji/index.jsonl"),
    hint="put the sheet of pictures and its index of names there",
)
def emoji(size: int = 32, match: str | None = None, skins: bool = True) -> Source:
    """3,786 emoji with their names as captions, on white (Google Noto Emoji).

    `match` keeps those whose whole name fits a regular expression: `large .* (circle|square)`;
    without `skins` those that only differ in the colour of skin are left out, and 1,911 remain.
    """
    from PIL import Image

    index = locate("emoji")
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    rows = [row for row in rows if skins or not row.get("skin")]
    rows = [row for row in rows if match is None or fits(match, _emoji_name(row))]
    if not rows:
        raise BadInput(f"dataset.match={match}: no emoji has such a name")
    sheet = Image.open(index.with_name("sheet64.png")).convert("RGBA")
    paper = Image.new("RGBA", sheet.size, "white")
    sheet = Image.alpha_composite(paper, sheet).convert("RGB")
    boxes = [(r["x"], r["y"], r["x"] + r["size"], r["y"] + r["size"]) for r in rows]
    tiles = [np.asarray(sheet.crop(box).resize((size, size), Image.BOX)) for box in boxes]
    pictures = np.stack(tiles).transpose(0, 3, 1, 2)
    return Source({"train": pictures}, captions={"train": [_emoji_name(row) for row in rows]})


def _emoji_name(row: dict) -> str:
    """`vampire, medium skin`: the package gives all skins one name."""
    tones = [SKINS[code] for code in (row.get("skin") or "").split("-") if code]
    return ", ".join([row["caption"], *(f"{tone} skin" for tone in tones)])


def fits(pattern: str, name: str) -> bool:
    """Whether a whole name fits a regular expression; BadInput for one that is none."""
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise BadInput(f"dataset.match={pattern}: no regular expression: {error}") from error


def _compose(pictures: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> tuple:
    """A picture `uint8 (3, 16, 16)` and its caption."""
    digit, count = rng.randint(10), rng.randint(1, 5)
    colour = list(COLOURS)[rng.randint(len(COLOURS))]
    grey = np.zeros((16, 16))
    for quadrant in rng.permutation(4)[:count]:
        top, left = 8 * (quadrant // 2), 8 * (quadrant % 2)
        grey[top : top + 8, left : left + 8] = pictures[rng.choice(np.flatnonzero(y == digit))]
    picture = np.stack([grey * share for share in COLOURS[colour]]).astype(np.uint8)
    return picture, describe(digit, count, colour)


def describe(digit: int, count: int, colour: str) -> str:
    """`three sevens in red`."""
    word = DIGITS[digit]
    plural = "" if count == 1 else "es" if word.endswith("x") else "s"
    return f"{COUNTS[count - 1]} {word}{plural} in {colour}"
