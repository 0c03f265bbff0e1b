"""Files that are damaged, hostile or empty: one line that names the file, and the place in it."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

from aigc.core.errors import BadInput
from aigc.data.files import read_csv, read_picture, read_sound, read_text, share
from aigc.runs import RunDir


def png(width: int, height: int) -> bytes:
    """A small file that claims to be a large grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.fault(24, "picture")
@pytest.mark.parametrize("side", [8_000, 12_000, 40_000])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int):
    file = tmp_path / "bomb.png"
    file.write_bytes(png(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(BadInput, match=r"bomb\.png"):
            read_picture(file, 8)


@pytest.mark.fault(21)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_a_picture_that_is_cut_short_is_named(tmp_path: Path, kind: str, share: float):
    from PIL import Image

    buffer = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    file = tmp_path / f"cut.{kind.lower()}"
    file.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    with pytest.raises(BadInput, match=r"cut\..* cannot be read as a picture"):
        read_picture(file, None)


@pytest.mark.fault(21)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "PCM_24"])
def test_a_sound_that_is_cut_short_is_named(tmp_path: Path, subtype: str):
    import soundfile

    file = tmp_path / "cut.wav"
    soundfile.write(file, np.linspace(-1, 1, 16000), 8000, subtype)
    assert len(read_sound(file)[0]) == 16000
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut\.wav is cut short: \d+ bytes"):
        read_sound(file)
    header = whole.index(b"data") + 8
    for size in (0, 20, header):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"cut\.wav"):
            read_sound(file)


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "text, match",
    [
        ("a,b\n1,2\n3\n", r"t\.csv:3: 1 fields"),
        ("a,b\n1,2\n3,4,5\n", r"t\.csv:3: 3 fields"),
        ("a,b\n1,2\n3,inf\n", r"t\.csv: row 2 holds a number that is not finite"),
        ("a,b\n", "a header and no rows"),
        ("", "is empty"),
    ],
)
def test_a_table_that_is_no_table_is_named(tmp_path: Path, text: str, match: str):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match=match):
        read_csv(file)


def test_gaps_in_a_table_are_data(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n1,\n,x\n")
    assert read_csv(tmp_path / "t.csv").isna().sum().sum() == 2


@pytest.mark.fault(21)
def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path):
    (tmp_path / "t.txt").write_bytes(b"one\ntwo\nthr\xffee\n")
    with pytest.raises(BadInput, match=r"t\.txt:3: not UTF-8"):
        read_text(tmp_path / "t.txt")


@pytest.mark.parametrize(
    "skip, left_out", [("10%", 2), (0.1, 2), ("9.9%", 0), (None, 0), ("0%", 0)]
)
def test_bad_files_are_left_out_up_to_a_share(tmp_path: Path, skip, left_out: int):
    from PIL import Image

    from aigc.data.datasets import all_datasets

    pixels = np.random.RandomState(0).randint(0, 256, (20, 4, 4), np.uint8)
    for i, picture in enumerate(pixels):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i:02}.png")
    for bad in ("a/04.png", "b/07.png"):
        (tmp_path / bad).write_bytes(b"no picture")
    load = all_datasets()["image_folder"].load
    if not left_out:
        with pytest.raises(BadInput, match=r"04\.png cannot be read"):
            load(str(tmp_path), skip=skip)
        return
    source = load(str(tmp_path), skip=skip)
    good = [i for i in [*range(0, 20, 2), *range(1, 20, 2)] if i not in (4, 7)]
    assert np.array_equal(source.parts["train"][:, 0], pixels[good])
    assert source.labels["train"].tolist() == [i % 2 for i in good]
    assert len(source.skipped) == 2 and "04.png" in source.skipped[0]


@pytest.mark.parametrize("skip", ["x", "100%", "-1%", 1.5])
def test_another_share_is_refused(skip):
    with pytest.raises(BadInput, match="a share below 1 as 1%"):
        share(skip)


@pytest.mark.fault(21)
def test_what_is_left_out_is_told(aigc, tmp_path: Path, capsys):
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_bytes(b"words and words " * 40 if i else b"\xff")
    words = ["model=vae", "modality=text", "dataset=text", f"dataset.path={tmp_path}", "study=skip"]
    words += ["budget=smoke", "budget.examples=32", "trainer.preview=0", "split.block=1"]
    code, _, error = aigc("train", *words)
    assert code == 2 and "00.txt:1: not UTF-8" in error
    code, out, error = aigc("train", *words, "dataset.skip=5%")
    assert code == 0 and "1 files left out, the first:" in error
    run = RunDir(out.strip().splitlines()[-1])
    (event,) = run.rows("events.jsonl")
    assert event["event"] == "skipped_files" and "00.txt" in event["files"][0]
    assert run.status["data"]["skipped"] == event["files"]
