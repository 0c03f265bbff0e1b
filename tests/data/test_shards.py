"""Large data: what is prepared in pieces is what is prepared whole, and nothing is held."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aigc.core import caption
from aigc.core.errors import BadInput
from aigc.data import streams
from aigc.data.sets import text_shards as texts
from aigc.data.splits import Split
from aigc.data.store import prepare
from aigc.data.thinning import tail_counts
from aigc.modalities.image import ImageCodec
from aigc.modalities.text import TextCodec

WORDS = "Ein Bär, två hästar und drei Wölfe \U0001f43a gehen über die Straße.\n"


def text_store(path: Path, codec: TextCodec | None = None, **options):
    split = Split(block=4)
    return prepare("text_shards", codec or TextCodec(), {}, {"path": str(path), **options}, split)


def all_rows(store) -> np.ndarray:
    return np.concatenate([store.ids(s) for s in ("train", "validation", "test")])


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "PIECE", 1001)
    monkeypatch.setattr(texts, "DOCUMENT", 100)
    monkeypatch.setattr(streams, "COPIED", 1000)


@pytest.mark.parametrize("cores", [1, 2])
def test_pieces_lose_no_letter(tmp_path: Path, small_pieces, monkeypatch, cores: int):
    """Borders fall inside of letters; only the tail of a piece is dropped."""
    monkeypatch.setattr(streams.os, "sched_getaffinity", lambda _: range(cores))
    text = WORDS * 200
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    pieces = texts.text_shards(str(tmp_path)).pieces["train"]
    read = [part for piece in pieces for raw, _, _ in texts.read_texts(piece) for part in raw]
    assert len(pieces) > 10 and "".join(read) == text
    store = text_store(tmp_path)
    rows, raw = all_rows(store), text.encode()
    assert sum(len(raw_) // 64 for raw_ in ["".join(r).encode() for r in _by_piece(pieces)]) == len(
        rows
    )
    windows = {bytes(row) for row in rows.astype(np.uint8)}
    assert all(window in raw for window in windows)
    assert {k: v for k, v in store.meta["counts"].items() if k != "train"} == pytest.approx(
        dict.fromkeys(("validation", "test"), 0.2 * len(rows)), abs=4
    )
    assert not list(store.folder.glob("piece-*"))


def _by_piece(pieces: list) -> list[list[str]]:
    return [[part for raw, _, _ in texts.read_texts(piece) for part in raw] for piece in pieces]


def test_every_kind_of_file_gives_the_same(tmp_path: Path):
    lines = [WORDS * k for k in (1, 5, 30, 2)]
    whole = "".join(lines)
    made = {name: tmp_path / name for name in ("txt", "gz", "jsonl", "jsonlgz", "npy", "parquet")}
    for folder in made.values():
        folder.mkdir()
    (made["txt"] / "a.txt").write_text(whole, encoding="utf-8")
    (made["gz"] / "a.txt.gz").write_bytes(gzip.compress(whole.encode()))
    rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (made["jsonl"] / "a.jsonl").write_text(rows)
    (made["jsonlgz"] / "a.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    np.save(made["npy"] / "a.npy", np.frombuffer(whole.encode(), np.uint8).astype(np.uint16))
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        del made["parquet"]
    else:
        parquet.write_table(pa.table({"text": lines}), made["parquet"] / "a.parquet")
    found = {name: text_store(folder) for name, folder in made.items()}
    assert len({store.meta["hash"] for store in found.values()}) == 1
    assert found["txt"].ids("train").dtype == np.uint8


def test_a_vocabulary_is_fitted_on_some_of_it(tmp_path: Path, small_pieces):
    (tmp_path / "a.txt").write_text(WORDS * 300, encoding="utf-8")
    store = text_store(tmp_path, TextCodec(tokenizer="bpe", vocab=300, context=16))
    assert store.ids("train").dtype == np.uint16
    assert "Wölfe" in store.codec.decode(store.examples("train", 50)[0])[0] + "".join(
        store.codec.decode(store.examples("train", 50)[0])
    )


def picture(seed: int, size: int = 8) -> bytes:
    pixels = np.random.RandomState(seed).randint(0, 255, (size, size, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def tar_of(path: Path, rows: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in rows:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def image_store(path: Path, **options):
    return prepare("image_shards", ImageCodec(), {}, {"path": str(path), **options})


def test_pictures_in_tar_parquet_and_folders_are_the_same(tmp_path: Path, monkeypatch):
    from aigc.data.sets import image_shards

    monkeypatch.setattr(image_shards, "AT_ONCE", 7)
    data = [(f"{i:04d}", picture(i), i % 3) for i in range(60)]
    tars, folders, tables = (tmp_path / n for n in ("tar", "folders", "parquet"))
    tars.mkdir(), tables.mkdir()
    for k in range(3):
        rows = [
            row
            for name, png, y in data[20 * k : 20 * k + 20]
            for row in ((f"{name}.png", png), (f"{name}.cls", str(y).encode()))
        ]
        tar_of(tars / f"shard-{k}.tar", rows)
    for name, png, y in data:
        (folders / str(y)).mkdir(parents=True, exist_ok=True)
        (folders / str(y) / f"{name}.png").write_bytes(png)
    found = [image_store(tars), image_store(folders)]
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        pass
    else:
        rows = [{"image": {"bytes": png, "path": None}, "label": y} for _, png, y in data]
        parquet.write_table(pa.Table.from_pylist(rows), tables / "a.parquet", row_group_size=25)
        found.append(image_store(tables))
        assert found[-1].meta["hash"] == found[0].meta["hash"]
    for store in found:
        assert store.meta["class_names"] == ["0", "1", "2"] and store.meta["counts"]["train"] == 36
        pairs = {
            (row.tobytes(), int(y))
            for split in ("train", "validation", "test")
            for row, y in zip(store.ids(split), store.labels(split))
        }
        wanted = {
            (np.asarray(Image.open(io.BytesIO(png))).transpose(2, 0, 1).tobytes(), y)
            for _, png, y in data
        }
        assert pairs == wanted


def test_captions_lie_beside_the_pictures_of_a_tar(tmp_path: Path, monkeypatch):
    from aigc.data.sets import image_shards

    monkeypatch.setattr(image_shards, "AT_ONCE", 4)
    words = [f"{'very ' * (i % 5)}blue, no. {i} \U0001f43a" for i in range(30)]
    rows = []
    for i, text in enumerate(words):
        told = {"caption": text, "url": "x"}
        beside = (f"{i}.json", json.dumps(told)) if i < 15 else (f"{i}.txt", f"{text}\n")
        rows += [(f"{i}.png", picture(i)), (beside[0], beside[1].encode())]
    tar_of(tmp_path / "a.tar", rows[:30])
    tar_of(tmp_path / "b.tar", rows[30:])
    store = image_store(tmp_path)
    assert store.space.classes == 0
    assert store.space.caption == max(len(text.encode()) for text in words)
    of = {}
    for split in ("train", "validation", "test"):
        texts = caption.decode(torch.from_numpy(store.labels(split)))
        of |= {row.tobytes(): text for row, text in zip(store.ids(split), texts)}
    for i, text in enumerate(words):
        pixels = np.asarray(Image.open(io.BytesIO(picture(i)))).transpose(2, 0, 1)
        assert of[pixels.tobytes()] == text

    tar_of(tmp_path / "c.tar", [("x.png", picture(99)), ("x.cls", b"3")])
    with pytest.raises(BadInput, match="some examples have a class and some have a caption"):
        image_store(tmp_path)
    tar_of(tmp_path / "c.tar", [("x.png", picture(99))])
    with pytest.raises(BadInput, match="some examples have a class or caption and some have none"):
        image_store(tmp_path)
    for name, text, told in (
        ("x.json", b'{"caption": 3}', "a caption is a text"),
        ("x.txt", b"\xff", "holds no caption"),
        ("x.txt", b"a" * 2000, "at most 1024 bytes"),
    ):
        tar_of(tmp_path / "c.tar", [("x.png", picture(99)), (name, text)])
        with pytest.raises(BadInput, match=told):
            image_store(tmp_path)


def test_fewer_training_examples_of_shards(tmp_path: Path):
    rows = [(f"{i:02d}", i % 3) for i in range(60)]
    members = [
        member
        for name, y in rows
        for member in ((f"{name}.png", picture(int(name))), (f"{name}.cls", str(y).encode()))
    ]
    tar_of(tmp_path / "a.tar", members)
    all_, ten, tail = (
        image_store(tmp_path, **more) for more in ({}, {"limit": 10}, {"imbalance": 10})
    )
    assert ten.meta["counts"] == {**all_.meta["counts"], "train": 10}
    known = {row.tobytes(): y for row, y in zip(all_.ids("train"), all_.labels("train"))}
    kept = {row.tobytes(): y for row, y in zip(ten.ids("train"), ten.labels("train"))}
    assert len(kept) == 10 and kept.items() <= known.items()
    before, after = (np.bincount(s.labels("train")) for s in (all_, tail))
    assert after.tolist() == tail_counts(before, 10).tolist() and after[2] < before[2]
    assert np.array_equal(all_.ids("test"), tail.ids("test"))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text(WORDS * 100, encoding="utf-8")
    assert text_store(tmp_path / "text", limit=7).meta["counts"]["train"] == 7
    with pytest.raises(BadInput, match="these data have no classes"):
        text_store(tmp_path / "text", imbalance=10)


def test_splits_that_are_there_are_kept(tmp_path: Path):
    for split, n in (("train", 20), ("validation", 5), ("test", 6)):
        (tmp_path / split).mkdir()
        tar_of(tmp_path / split / "a.tar", [(f"{i}.png", picture(i)) for i in range(n)])
    store = image_store(tmp_path)
    assert store.meta["counts"] == {"train": 20, "validation": 5, "test": 6}
    assert store.labels("train") is None and store.space.classes == 0


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"abc \xff" + 200 * b"x", "a.txt, byte 4: not UTF-8"),
        ("a.jsonl", b'{"text": 3}\n', "field 'text' is no text"),
        ("a.jsonl", b'{"word": "x"}\n', "no JSON with a field 'text'"),
        ("a.txt.gz", b"no gzip", "cannot be unpacked"),
        ("a.npy", b"\x93NUMPY broken", "a.npy is not an array"),
        ("a.txt", b"short", "too few to split"),
        ("a.doc", b"x", "no train file ending in .txt"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, name: str, content: bytes, told: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as error:
        text_store(tmp_path)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_tokens_of_another_vocabulary_are_refused(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(1000, dtype=np.uint16))
    with pytest.raises(BadInput, match="token 999 is not of this vocabulary of 256"):
        text_store(tmp_path)


def test_bad_pictures_are_named_or_left_out(tmp_path: Path):
    rows = [(f"{i:03d}.png", picture(i)) for i in range(99)]
    tar_of(tmp_path / "a.tar", [*rows, ("100.png", b"no picture")])
    with pytest.raises(BadInput, match=r"1 of 100 examples cannot be read.*a.tar:100.png"):
        image_store(tmp_path)
    store = image_store(tmp_path, skip="1%")
    assert sum(store.meta["counts"].values()) == 99 and len(store.meta["skipped"]) == 1
    (tmp_path / "b.tar").write_bytes(b"x" * 3000)
    with pytest.raises(BadInput, match=r"b\.tar cannot be read as tar"):
        image_store(tmp_path, skip="1%")


def test_a_tar_writes_nothing_and_a_large_member_is_refused(tmp_path: Path, monkeypatch):
    from aigc.data.sets import image_shards

    rows = [(f"../{i:02d}.png", picture(i)) for i in range(9)]
    tar_of(tmp_path / "a.tar", rows)
    before = sorted(tmp_path.parent.iterdir())
    assert sum(image_store(tmp_path).meta["counts"].values()) == 9
    assert sorted(tmp_path.parent.iterdir()) == before
    monkeypatch.setattr(image_shards, "LARGEST", 100)
    with pytest.raises(BadInput, match="bytes, more than 100"):
        image_store(tmp_path, size=4)


def test_a_run_on_shards_goes_on_exactly(tmp_path: Path):
    """Training, an interruption, and the same weights as without it; workers read the map."""
    from aigc.lab.callbacks import Log
    from aigc.lab.conf import compose
    from aigc.lab.training import train

    (tmp_path / "a.txt").write_text(WORDS * 400, encoding="utf-8")
    words = ["model=autoregressive", "modality=text", "dataset=text_shards", "budget=smoke"]
    words += [f"dataset.path={tmp_path}", "trainer.validations=2", "trainer.preview=0"]
    words += ["trainer.where=workers", "trainer.save_every=128", "trainer.workers=1"]
    whole = train(compose("train", [*words, "study=shards"]))
    config, ends = compose("train", [*words, "study=shards_cut"]), Log.on_train_batch_end

    def cut(self, trainer, module, outputs, batch, index):
        ends(self, trainer, module, outputs, batch, index)
        if index == 9:
            raise RuntimeError("cut")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "on_train_batch_end", cut)
        with pytest.raises(RuntimeError, match="cut"):
            train(config)
    assert train(config).status["weights"] == whole.status["weights"]


SMALL = """
import sys, resource
from aigc.data.store import prepare
from aigc.modalities.text import TextCodec
import aigc.data.sets.text_shards
peak = lambda who: resource.getrusage(who).ru_maxrss
base = peak(resource.RUSAGE_SELF)
prepare("text_shards", TextCodec(), {}, {"path": sys.argv[1]})
print(base, max(peak(resource.RUSAGE_SELF), peak(resource.RUSAGE_CHILDREN)))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path):
    """Four times the text, the same peak of the largest process; kilobytes."""
    extra = []
    for k in (1, 4):
        folder = tmp_path / str(k)
        folder.mkdir()
        for i in range(k):
            (folder / f"{i}.txt").write_text(WORDS * 500_000, encoding="utf-8")  # 37 MB
        root = str(Path(__file__).parents[2])
        env = {**os.environ, "PYTHONPATH": root}
        line = [sys.executable, "-c", SMALL, str(folder)]
        out = subprocess.run(line, capture_output=True, text=True, check=True, env=env).stdout
        base, peak = map(int, out.split())
        extra.append(peak - base)
    assert extra[1] < 1.2 * extra[0] + 20_000 and extra[1] < 400_000, extra
