"""Data are prepared once, whole or not at all, and splits do not move."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from aigc.core.errors import BadInput
from aigc.core.spec import Batch
from aigc.data.datamodule import Balanced, DataModule, Indices, quotas
from aigc.data.splits import _deal
from aigc.data.store import Split, Store, prepare
from aigc.data.thinning import tail_counts, thinned
from aigc.modalities.image import ImageCodec
from aigc.modalities.tabular import TabularCodec
from aigc.modalities.text import TextCodec

LEVELS = {"levels": 17}


def digits(**split) -> Store:
    return prepare("digits", ImageCodec(**LEVELS), LEVELS, split=Split(**split))


def test_splits_are_disjoint_complete_and_fixed(folders: Path):
    store = digits(validation=0.2, test=0.2)
    assert store.meta["counts"] == {"train": 1079, "validation": 359, "test": 359}
    rows = [store.ids(s).reshape(len(store.ids(s)), -1) for s in ("train", "validation", "test")]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 1797
    again = digits(validation=0.2, test=0.2)
    assert again.folder == store.folder
    assert digits(validation=0.2, test=0.2, seed=1).meta["hash"] != store.meta["hash"]
    assert store.space.classes == 10
    assert store.labels("test").shape == (359,)


def test_blocks_stay_together():
    order = _deal(1000, Split(block=64))
    assert sorted(order) == list(range(1000))
    joins = np.diff(order)
    assert (joins != 1).sum() < 1000 / 64 + 1
    assert _deal(10, Split(block=0)).tolist() == list(range(10))


def _prepare_wine(cache: str) -> str:
    import os

    os.environ["AIGC_CACHE"] = cache
    return prepare("wine", TabularCodec(), {}).meta["hash"]


def test_two_processes_may_prepare_at_once(tmp_path: Path):
    with ProcessPoolExecutor(3) as pool:
        hashes = list(pool.map(_prepare_wine, [str(tmp_path)] * 3))
    assert len(set(hashes)) == 1
    assert [p.name[0] for p in (tmp_path / "data").iterdir()] == ["w"]  # no part folder is left


def test_a_failed_preparation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIGC_CACHE", str(tmp_path))
    monkeypatch.setattr(ImageCodec, "save", lambda self, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        digits()
    assert not list((tmp_path / "data").iterdir())


def test_wrong_modality_and_option_are_named():
    with pytest.raises(BadInput, match="use modality=image"):
        prepare("digits", TextCodec(), {})
    with pytest.raises(BadInput, match=r"no option 'dataset.pth'.*dataset.path"):
        prepare("text", TextCodec(), {}, {"pth": "x"})


def test_the_stream_visits_every_example_once_a_turn():
    indices = Indices(10, batch=4, total=40, seed=3)
    stream = torch.cat(list(indices))
    assert len(stream) == 40 and len(indices) == 10
    turns = stream.view(4, 10)
    assert all(sorted(turn.tolist()) == list(range(10)) for turn in turns)
    assert len({tuple(turn.tolist()) for turn in turns}) == 4
    assert torch.equal(indices.take(13, 27), stream[13:27])


def test_ranks_share_the_global_batch():
    whole = list(Indices(100, 8, 80, seed=0))
    parts = [list(Indices(100, 8, 80, 0, rank, 2)) for rank in (0, 1)]
    for batch, a, b in zip(whole, *parts):
        assert torch.equal(batch[0::2], a) and torch.equal(batch[1::2], b)


def test_workers_and_device_give_the_same_batches():
    store = digits()
    resident = DataModule(store, 32, 320, seed=5, where="device").train_dataloader()
    workers = DataModule(store, 32, 320, seed=5, where="workers", workers=2).train_dataloader()
    for a, b in zip(resident, workers, strict=True):
        assert isinstance(a, Batch) and isinstance(b, Batch)
        assert torch.equal(a.ids, b.ids) and torch.equal(a.y, b.y)


def test_validation_is_in_order_and_whole():
    store = digits()
    ids = torch.cat([batch.ids for batch in DataModule(store, 32, 320).val_dataloader()])
    assert torch.equal(ids, torch.from_numpy(store.ids("validation").astype("int64")))


def test_examples_are_drawn_over_the_whole_split_and_begin_alike(tmp_path):
    table = pd.DataFrame({"x": range(300), "kind": ["a"] * 100 + ["b"] * 100 + ["c"] * 100})
    table.to_csv(tmp_path / "sorted.csv", index=False)
    options = {"path": str(tmp_path / "sorted.csv"), "target": "kind"}
    store = prepare("csv", TabularCodec(), {}, options)
    ids, y = store.examples("test", 30)
    assert set(y.tolist()) == {0, 1, 2}
    assert torch.equal(store.examples("test", 10)[0], ids[:10])
    whole, labels = store.examples("test", 1000)
    assert np.array_equal(whole.numpy(), store.ids("test").astype(int))
    assert np.array_equal(labels.numpy(), store.labels("test"))


def test_factors_stay_beside_their_pictures():
    from aigc.data.sets.shapes import draw

    store = prepare("shapes", ImageCodec(**LEVELS), LEVELS)
    assert store.meta["factor_names"] == ["shape", "scale", "orientation", "x", "y"]
    assert store.space.classes == 0 and store.labels("test") is None
    rows = store.rows("test", 50)
    ids, _ = store.examples("test", 50)
    again = store.codec.encode(draw(store.factors("test")[rows], 16))
    assert torch.equal(ids, again)
    parts = [store.factors(split) for split in ("train", "validation", "test")]
    assert len(np.unique(np.concatenate(parts), axis=0)) == 6144
    assert digits().factors("test") is None


def test_a_long_tail_falls_exponentially_in_training_alone():
    counts = np.full(10, 5000)
    tail = tail_counts(counts, 100)
    assert tail[0] == 5000 and tail[-1] == 50
    assert np.allclose(tail[1:] / tail[:-1], 100 ** (-1 / 9), atol=0.01)
    assert tail_counts(np.array([6, 2, 9]), 1).tolist() == [6, 2, 9]
    assert tail_counts(np.array([9, 9]), 1000).tolist() == [9, 1]

    balanced = digits()
    long = prepare("digits", ImageCodec(**LEVELS), LEVELS, {"imbalance": 20})
    counts = np.bincount(balanced.labels("train"))
    assert np.array_equal(np.bincount(long.labels("train")), tail_counts(counts, 20))
    for split in ("validation", "test"):
        assert np.array_equal(long.ids(split), balanced.ids(split))
    assert long.meta["hash"] != balanced.meta["hash"] and long.folder != balanced.folder


def test_thinned_sets_are_nested():
    labels = np.arange(400) % 4
    kept = [set(thinned(400, labels, imbalance=r)) for r in (1, 5, 50)]
    assert len(kept[0]) == 400 and kept[0] > kept[1] > kept[2]
    few = [set(thinned(400, None, limit=n)) for n in (7, 100)]
    assert few[0] < few[1] and [len(f) for f in few] == [7, 100]
    with pytest.raises(BadInput, match=r"dataset.imbalance=5: these data have no classes"):
        thinned(400, None, imbalance=5)


@pytest.mark.parametrize("balance", ["balanced", "square_root"])
def test_every_turn_holds_the_quota_of_each_class(balance: str):
    counts = np.array([80, 0, 15, 5])
    labels = np.repeat(np.arange(4), counts)
    sizes = quotas(counts, balance, 100)
    share = (counts > 0) if balance == "balanced" else counts**0.5
    assert sizes.sum() == 100 and np.abs(sizes - 100 * share / share.sum()).max() < 1
    indices = Balanced(labels, balance, 10, 1000, 3)
    stream = torch.cat(list(indices))
    for turn in stream.view(10, 100):
        assert np.array_equal(np.bincount(labels[turn], minlength=4), sizes)
    assert torch.equal(indices.take(137, 411), stream[137:411])  # a position is one number
    for k in (0, 2, 3):  # a class runs through all its examples before it repeats one
        seen = np.bincount(stream.numpy(), minlength=100)[labels == k]
        assert seen.max() - seen.min() <= 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["ids-train.npy", "labels-test.npy", "codec.json"])
@pytest.mark.parametrize("hurt", ["flip", "cut", "remove"])
def test_prepared_data_that_are_damaged_are_prepared_again(capsys, name: str, hurt: str):
    from aigc.modalities.tabular import TabularCodec

    def make():
        return prepare("wine", TabularCodec(), {"of": "damage"})

    store = make()
    before, file = store.ids("train").copy(), store.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if hurt == "remove":
        file.unlink()
    else:
        file.write_bytes(content if hurt == "flip" else content[:-1])
    again = make()
    assert "prepared again" in capsys.readouterr().err
    assert np.array_equal(again.ids("train"), before) and again.meta == store.meta
    make()
    assert not capsys.readouterr().err
