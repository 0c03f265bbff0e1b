"""Loaders give what their facts promise; broken files are named with the place of the damage."""

import gzip
import json
import os
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aigc.core.errors import BadInput
from aigc.data.datasets import Source, all_datasets
from aigc.data.files import read_csv, read_idx, read_picture, read_sound, read_text

HERE = [f for f in all_datasets().values() if f.kind in ("embedded", "law")]
STANDARD = [f for f in all_datasets().values() if f.kind == "standard"]


def holds(source: Source, facts) -> None:
    raw = source.parts["train"]
    kinds = {"image": np.ndarray, "text": list, "audio": list, "tabular": pd.DataFrame}
    assert isinstance(raw, kinds[facts.modality])
    if facts.classes:
        y = source.labels["train"]
        assert len(y) == len(raw)
        assert set(np.unique(y)) == set(range(facts.classes))
    else:
        assert not source.labels


@pytest.mark.parametrize("facts", HERE, ids=lambda f: f.name)
def test_embedded_sets_and_known_laws(facts):
    holds(facts.load(), facts)
    assert facts.about and facts.licence


@pytest.mark.parametrize("facts", STANDARD, ids=lambda f: f.name)
def test_standard_sets_load_or_say_what_is_missing(facts):
    if facts.found():
        holds(facts.load(), facts)
        return
    with pytest.raises(BadInput) as error:
        facts.load()
    for word in (facts.name, "AIGC_DATA", facts.hint):
        assert word in str(error.value)


def test_laws_are_reproducible():
    sets = all_datasets()
    assert sets["markov"].load().parts == sets["markov"].load().parts
    assert sets["markov"].load(seed=1).parts != sets["markov"].load().parts


def test_markov_text_has_its_stated_entropy():
    source = all_datasets()["markov"].load(length=200_000)
    text = np.frombuffer(source.parts["train"][0].encode(), np.uint8) - ord("a")
    pairs = np.zeros((8, 8))
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    rows = pairs / pairs.sum(1, keepdims=True)
    rate = -(pairs / pairs.sum() * np.log2(np.where(rows > 0, rows, 1))).sum()
    assert rate == pytest.approx(source.truth["entropy_rate"], rel=0.01)


def write_picture(path: Path) -> None:
    Image.fromarray(np.full((6, 8, 3), 99, np.uint8)).save(path)


def write_sound(path: Path, samples: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.zeros(samples, "<i2").tobytes())


def test_own_folders_and_files(tmp_path: Path):
    sets = all_datasets()
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            write_picture(tmp_path / "pictures" / split / name / "1.png")
    source = sets["image_folder"].load(path=str(tmp_path / "pictures"), size=4)
    assert source.parts["test"].shape == (2, 3, 4, 4)
    assert source.class_names == ["cat", "dog"] and source.labels["train"].tolist() == [0, 1]

    for name in ("low", "high"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        write_sound(tmp_path / "sounds" / name / "a.wav", 100)
    source = sets["audio_folder"].load(path=str(tmp_path / "sounds"))
    assert len(source.parts["train"]) == 2 and source.class_names == ["high", "low"]

    (tmp_path / "a.txt").write_text("hello")
    assert sets["text"].load(path=str(tmp_path / "a.txt")).parts["train"] == ["hello"]
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text(split)
        (tmp_path / f"{split}.jsonl").write_text('{"prompt": "a", "completion": "' + split + '"}\n')
    parts = sets["text"].load(path=str(tmp_path)).parts
    assert parts == {"train": ["train"], "test": ["test"]}  # a.txt is not a split
    parts = sets["pairs"].load(path=str(tmp_path)).parts
    assert parts == {"train": [("a", "train")], "test": [("a", "test")]}
    (tmp_path / "long.txt").write_text("abcdefghij" * 50)
    gaps = sets["infill"].load(path=str(tmp_path / "long.txt"), width=10).parts["train"]
    assert len(gaps) == 50 and len(set(gaps)) > 20
    assert all(prompt.replace("<gap>", middle) == "abcdefghij" for prompt, middle in gaps)
    assert sets["pairs"].load(path=str(tmp_path / "test.jsonl")).parts["train"] == [("a", "test")]
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n3,\n4,x\n")
    source = sets["csv"].load(path=str(tmp_path / "t.csv"), target="b")
    assert source.labels["train"].tolist() == [0, 1, 0]  # the row without label is dropped
    with pytest.raises(BadInput, match=r"dataset.target=a has 4 values in 4 rows"):
        sets["csv"].load(path=str(tmp_path / "t.csv"), target="a")
    with pytest.raises(BadInput, match=r"choose from a, b"):
        sets["csv"].load(path=str(tmp_path / "t.csv"), target="c")


@pytest.mark.parametrize("name", ["image_folder", "audio_folder", "text", "csv", "pairs", "infill"])
def test_own_sets_need_a_path_that_exists(name: str):
    with pytest.raises(BadInput, match=r"needs dataset\.path"):
        all_datasets()[name].load()
    with pytest.raises(BadInput, match="does not exist"):
        all_datasets()[name].load(path="/no/such/place")


def test_broken_files_are_named(tmp_path: Path):
    def file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    with pytest.raises(BadInput, match=r"bad\.txt:3: not UTF-8"):
        read_text(file("bad.txt", b"one\ntwo\nthr\xffee"))
    with pytest.raises(BadInput, match=r"empty\.txt is empty"):
        read_text(file("empty.txt", b" \n"))
    with pytest.raises(BadInput, match=r"long\.csv:3: 3 fields, but the header has 2"):
        read_csv(file("long.csv", b"a,b\n1,2\n1,2,3\n"))
    with pytest.raises(BadInput, match=r"short\.csv:2: 1 fields, but the header has 2"):
        read_csv(file("short.csv", b"a,b\n1\n1,2\n"))
    pairs = all_datasets()["pairs"].load
    with pytest.raises(BadInput, match=r"p\.jsonl:2: KeyError: 'completion'"):
        pairs(path=str(file("p.jsonl", b'{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')))
    with pytest.raises(BadInput, match=r"q\.jsonl:1: TypeError: .* should be texts"):
        pairs(path=str(file("q.jsonl", b'{"prompt": 1, "completion": "b"}')))
    with pytest.raises(BadInput, match="the header has no comma"):
        read_csv(file("semi.csv", b"a;b\n1;2\n"))
    with pytest.raises(BadInput, match="no rows"):
        read_csv(file("head.csv", b"a,b\n"))
    with pytest.raises(BadInput, match=r"x\.png cannot be read as a picture"):
        read_picture(file("x.png", b"not a picture"), None)
    with pytest.raises(BadInput, match=r"x\.wav cannot be read as sound"):
        read_sound(file("x.wav", b"RIFF"))
    write_sound(tmp_path / "none.wav", 0)
    with pytest.raises(BadInput, match="no samples"):
        read_sound(tmp_path / "none.wav")
    with pytest.raises(BadInput, match="cut short"):
        read_idx(file("cut", bytes([0, 0, 8, 1, 0, 0, 0, 9, 1, 2])))
    whole = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]))
    assert read_idx(file("whole.gz", whole)).tolist() == [1, 2]
    with pytest.raises(BadInput, match="cannot be unpacked"):
        read_idx(file("cut.gz", whole[:-4]))


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 8_000)).save(path)
    assert os.path.getsize(path) < 100_000
    with pytest.raises(BadInput, match="20000 x 8000 pixels"):
        read_picture(path, None)


def test_classes_of_picture_folders_are_those_of_train(tmp_path: Path):
    for place in ("train/cat", "train/dog", "train/fox", "test/dog", "train/.thumbs"):
        (tmp_path / place).mkdir(parents=True)
        write_picture(tmp_path / place / "a.png")
    load = all_datasets()["image_folder"].load
    source = load(path=str(tmp_path))
    assert source.class_names == ["cat", "dog", "fox"] and source.labels["test"].tolist() == [1]
    (tmp_path / "test" / "owl").mkdir()
    write_picture(tmp_path / "test" / "owl" / "a.png")
    with pytest.raises(BadInput, match="has a class 'owl' that train has not"):
        load(path=str(tmp_path))
    with pytest.raises(BadInput, match="has test but no train"):
        load(path=str(_only_test(tmp_path)))


def test_sixteen_bit_greys_keep_their_range(tmp_path: Path):
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", None).ravel().tolist() == [0, 100, 255]


def _only_test(root: Path) -> Path:
    folder = root / "other"
    (folder / "test").mkdir(parents=True)
    write_picture(folder / "test" / "a.png")
    return folder


def test_shapes_are_all_different_and_know_their_factors():
    load = all_datasets()["shapes"].load
    source = load()
    pictures, factors = source.parts["train"], source.factors["train"]
    assert pictures.shape == (6144, 1, 16, 16) and len(np.unique(factors, axis=0)) == 6144
    levels = np.round(pictures / 15).reshape(6144, -1)  # 17 greys
    assert len(np.unique(levels, axis=0)) == 6144
    mass = pictures[:, 0] / 255
    middle = np.arange(16) + 0.5
    for axis, name in ((2, "x"), (1, "y")):  # the centre of mass follows the position
        centre = (mass.sum(3 - axis) * middle).sum(1) / mass.sum((1, 2)) / 16
        place = np.linspace(0.31, 0.69, 8)[factors[:, source.factor_names.index(name)]]
        ellipses = factors[:, 0] == 0
        assert np.abs(centre - place)[ellipses].max() < 0.01
        assert np.abs(centre - place).max() < 0.1
    radius = np.linspace(0.18, 0.30, 4)[factors[:, 1]] * 16
    area = {0: np.pi * 0.55, 1: 4 * 0.95 * 0.32, 2: 0.45 * 1.75**2}
    wanted = np.array([area[s] for s in factors[:, 0]]) * radius**2
    error = mass.sum((1, 2)) - wanted  # edges fall between sub-pixels
    assert abs(error.mean()) < 0.1 and np.abs(error).max() < 2


def test_some_shapes_with_one_factor_as_label():
    load = all_datasets()["shapes"].load
    some = load(n=100, label="shape", size=8)
    assert some.parts["train"].shape == (100, 1, 8, 8)
    assert some.class_names == ["ellipse", "bar", "triangle"]
    assert (some.labels["train"] == some.factors["train"][:, 0]).all()
    assert (load(n=100, seed=1).factors["train"] != some.factors["train"]).any()
    for options, line in (({"label": "colour"}, "unknown factor"), ({"n": 0}, "n=0: 1 to 6144")):
        with pytest.raises(BadInput, match=line):
            load(**options)


def test_binarised_digits_are_drawn_with_their_greys(monkeypatch):
    from aigc.data.sets import image

    grey = np.array([0, 64, 128, 255], np.uint8).reshape(1, 1, 2, 2)
    parts = {"train": grey.repeat(60_000, 0), "test": grey.repeat(10_000, 0)}
    monkeypatch.setattr(image, "mnist", lambda: Source(parts))
    drawn = image.binarized_mnist().parts
    assert {split: len(part) for split, part in drawn.items()} == {
        "train": 50_000, "validation": 10_000, "test": 10_000
    }  # fmt: skip
    assert set(np.unique(drawn["train"])) == {0, 255}
    assert drawn["train"].mean(0).ravel() == pytest.approx([0, 64, 128, 255], abs=3)
    assert np.array_equal(drawn["test"], image.binarized_mnist().parts["test"])
    assert not np.array_equal(drawn["test"], image.binarized_mnist(seed=1).parts["test"])


def test_emoji_by_a_pattern_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "emoji"
    folder.mkdir()
    sheet = np.zeros((8, 24, 4), np.uint8)
    names = ("red circle", "red square", "circle")
    for i in range(3):
        sheet[:, 8 * i : 8 * i + 8] = (80 * i, 0, 0, 255)
    Image.fromarray(sheet).save(folder / "sheet64.png")
    rows = [{"x": 8 * i, "y": 0, "size": 8, "caption": name} for i, name in enumerate(names)]
    (folder / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    load = all_datasets()["emoji"].load
    source = load(size=4, match="red .*")
    assert source.captions["train"] == ["red circle", "red square"]
    assert source.parts["train"][:, 0, 0, 0].tolist() == [0, 80]
    assert len(load(size=4).parts["train"]) == 3
    for pattern, line in (("blue .*", "no emoji has such a name"), ("(", "no regular expression")):
        with pytest.raises(BadInput, match=line):
            load(match=pattern)
