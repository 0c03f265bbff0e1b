"""What someone else may give: whatever is in it, no code of theirs is run, no file outside is
touched, no memory filled."""

import builtins
import functools
import gzip
import json
import os
import pickle
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml

import aigc
from aigc.core import arrays
from aigc.core.arrays import read_arrays
from aigc.core.errors import BadInput
from aigc.data import files
from aigc.data.datasets import all_datasets
from aigc.data.files import read_csv, read_gzip, read_picture
from aigc.lab import keeping
from aigc.lab.checkpoint import AtomicIO, Damaged, sound
from aigc.lab.conf import compose
from aigc.lab.training import train
from aigc.runs import NotARun, RunDir

WORDS = ["model=vae", "modality=tabular", "dataset=wine", "budget=smoke", "budget.examples=64"]
WORDS += ["trainer.preview=0", "trainer.validations=1", "study=given"]
REFUSED = (BadInput, NotARun)

PAYLOADS: dict[str, Callable[[str], tuple]] = {
    "call": lambda marker: (os.mkdir, (marker,)),
    "eval": lambda marker: (eval, (f"__import__('os').mkdir({marker!r})",)),
    "exec": lambda marker: (exec, (f"import os; os.mkdir({marker!r})",)),
    "partial": lambda marker: (functools.partial(os.mkdir, marker), ()),
    "getattr": lambda marker: (getattr(builtins, "open"), (marker, "w")),  # noqa: B009
}


class Evil:
    """Calls something when it is unpickled."""

    def __init__(self, call: tuple):
        self.call = call

    def __reduce__(self) -> tuple:
        return self.call


@pytest.fixture
def marker(tmp_path: Path):
    """A path that appears when a payload is run; the test fails if it does."""
    path = tmp_path / "marker"
    yield str(path)
    assert not path.exists()


@pytest.fixture(params=PAYLOADS)
def evil(request: pytest.FixtureRequest, marker: str) -> Evil:
    """A payload."""
    return Evil(PAYLOADS[request.param](marker))


@pytest.fixture(scope="module")
def trained(folders) -> RunDir:
    """A finished run."""
    return train(compose("train", WORDS))


@pytest.fixture
def given(trained: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it, as one might get it from somebody."""
    return RunDir(shutil.copytree(trained.path, tmp_path / "runs" / "given" / trained.path.name))


def test_the_payloads_do_run_where_nothing_stops_them(tmp_path: Path):
    for name, payload in PAYLOADS.items():
        path = tmp_path / name
        pickle.loads(pickle.dumps(Evil(payload(str(path)))))
        assert path.exists(), name


@pytest.mark.fault(22, "checkpoint")
@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint(evil: Evil, tmp_path: Path, legacy: bool):
    file = tmp_path / "last-32.ckpt"
    torch.save({"state_dict": {}, "x": evil}, file, _use_new_zipfile_serialization=not legacy)
    assert not sound(file)
    with pytest.raises(Damaged):
        AtomicIO().load_checkpoint(file, weights_only=False)


@pytest.mark.fault(22, "checkpoint")
@pytest.mark.parametrize("where", ["named", "newest"])
def test_a_checkpoint_to_go_on_from(given: RunDir, marker: str, monkeypatch, where: str):
    monkeypatch.setenv("AIGC_RUNS", str(given.path.parents[1]))
    given.mark("failed")
    file = given / "checkpoints" / "last-000000000032.ckpt"
    torch.save({"state_dict": {}, "x": Evil(PAYLOADS["call"](marker))}, file)
    if where == "named":
        with pytest.raises(Damaged):
            train(compose("train", [*WORDS, f"resume={file}"]))
    else:
        assert train(compose("train", WORDS)).is_done  # afresh


@pytest.mark.fault(22, "weights")
@pytest.mark.parametrize("kind", ["pickle", "torch", "length", "offsets", "empty"])
def test_weights(given: RunDir, marker: str, kind: str):
    file = given / "checkpoints" / "model.safetensors"
    bad = Evil(PAYLOADS["call"](marker))
    if kind == "torch":
        torch.save({"w": bad}, file)
    index = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    head = len(index).to_bytes(8, "little") + index.encode()
    text = {"pickle": pickle.dumps(bad), "length": b"\xff" * 8, "offsets": head, "empty": b""}
    if kind in text:
        file.write_bytes(text[kind])
    with pytest.raises(REFUSED, match=r"model\.safetensors"):
        _ = aigc.load(given.path).model


@pytest.mark.fault(22, "npy, npz")
@pytest.mark.parametrize("name", ["ids-train.npy", "labels-train.npy"])
def test_prepared_data(evil: Evil, trained: RunDir, monkeypatch, tmp_path: Path, name: str):
    store = aigc.load(trained.path).store
    folder = shutil.copytree(store.folder, tmp_path / "store")
    np.save(folder / name, np.array([evil], object), allow_pickle=True)
    monkeypatch.setattr(type(store), "__setattr__", object.__setattr__)
    store.folder = folder
    with pytest.raises(ValueError, match=r"allow_pickle=False|Python objects"):
        _ = store.ids("train"), store.labels("train")


@pytest.mark.fault(22, "npy, npz")
def test_samples_of_somebody(evil: Evil, tmp_path: Path):
    file = tmp_path / "ids.npz"
    np.savez(file, ids=np.array([evil], object))
    with pytest.raises(BadInput, match=r"ids\.npz is no"):
        read_arrays(file)


@pytest.mark.fault(24, "npy, npz")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 99, None])
def test_arrays_that_are_none_or_too_many(tmp_path: Path, monkeypatch, content: bytes | None):
    file = tmp_path / "ids.npz"
    np.savez_compressed(file, ids=np.zeros(10**6, np.uint8))
    monkeypatch.setattr(arrays, "MAX_BYTES", 10**5)
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput, match="more than" if content is None else "no .npz"):
        read_arrays(file)


@pytest.mark.fault(22, "pickle, joblib")
@pytest.mark.parametrize("by", ["pickle", "joblib"])
def test_a_pickled_batch(evil: Evil, tmp_path: Path, monkeypatch, by: str):
    facts = all_datasets()["cifar10_4k"]
    monkeypatch.setenv("AIGC_DATA", str(tmp_path))
    file = tmp_path / facts.places[0]
    file.parent.mkdir(parents=True)
    if by == "joblib":
        import joblib

        joblib.dump({"data": evil, "labels": []}, file)
    else:
        file.write_bytes(pickle.dumps({"data": evil, "labels": []}))
    with pytest.raises(BadInput, match="not plain data"):
        facts.load()


def bomb() -> str:
    """A kilobyte of YAML that stands for 10^9 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    return "\n".join(lines)


@pytest.mark.fault(22, "yaml")
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [MARKER]",
        "model: !!python/object/new:os.mkdir [MARKER]",
        "model: !!python/name:os.system",
        "!!python/module:antigravity",
        bomb(),
        "[" * 100_000,
    ],
    ids=["apply", "new", "name", "module", "aliases", "depth"],
)
def test_the_configuration_of_a_run(given: RunDir, marker: str, text: str):
    (given / "config.yaml").write_text(text.replace("MARKER", marker))
    with pytest.raises(NotARun, match="cannot be read"):
        aigc.load(given.path)


@pytest.mark.fault(23, "environment")
@pytest.mark.parametrize(
    "text", ["${oc.env:SECRET}", "${oc.env:SECRET,x}", "${oc.decode:${oc.env:SECRET}}", "${model}"]
)
@pytest.mark.parametrize("where", ["config", "status"])
def test_a_run_that_asks_for_the_environment(given: RunDir, where: str, text: str):
    if where == "config":
        config = given.config | {"view": text}
        (given / "config.yaml").write_text(yaml.safe_dump(config))
    else:
        given.mark("done", nets={"decoder": {"width": text}})
    with pytest.raises(REFUSED, match="interpolation, which no run writes"):
        aigc.load(given.path)


@pytest.mark.fault(23, "class of a run")
@pytest.mark.parametrize(
    "target", ["os.mkdir", "torch.load", "torch.package.PackageImporter", "aigc.lab.run.Path"]
)
def test_the_networks_that_a_run_names(given: RunDir, marker: str, target: str):
    given.mark("done", nets={"decoder": {"_target_": target, "path": marker}})
    with pytest.raises(BadInput, match="no class of"):
        aigc.load(given.path)


@pytest.mark.fault(22, "zip")
@pytest.mark.parametrize("kind", ["outside", "absolute", "packed"])
def test_a_checkpoint_is_an_archive(tmp_path: Path, kind: str):
    file, name = tmp_path / "last-32.ckpt", tmp_path / "marker"
    torch.save({"state_dict": {"w": torch.ones(3)}}, file)
    members = {"outside": "../marker", "absolute": str(name), "packed": "archive/data/9"}
    with zipfile.ZipFile(file, "a") as archive:
        how = zipfile.ZIP_DEFLATED if kind == "packed" else zipfile.ZIP_STORED
        archive.writestr(members[kind], bytes(10**6), how)
    if kind == "packed":  # a million zeros could be a terabyte
        assert not sound(file)
    elif sound(file):
        AtomicIO().load_checkpoint(file)
    assert not name.exists() and not (tmp_path.parent / "marker").exists()


@pytest.mark.fault(22, "tar, zip as data")
@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("dataset", ["text", "csv", "image_folder", "audio_folder", "pairs"])
def test_an_archive_where_data_are_read(tmp_path: Path, kind: str, dataset: str):
    file, inside = tmp_path / f"evil.{kind}", tmp_path / "x"
    inside.write_bytes(bytes(range(256)) * 4)
    if kind == "tar":
        with tarfile.open(file, "w") as archive:
            archive.add(inside, "../marker")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.write(inside, "../marker")
    with pytest.raises(BadInput):
        all_datasets()[dataset].load(path=str(file))
    assert not (tmp_path.parent / "marker").exists()


@pytest.mark.fault(24, "gzip")
@pytest.mark.parametrize("content", [b"\x1f\x8b", b"text", gzip.compress(bytes(10**6))[:-9], None])
def test_a_compressed_text(tmp_path: Path, monkeypatch, content: bytes | None):
    file = tmp_path / "train.en.gz"
    file.write_bytes(gzip.compress(bytes(10**6)) if content is None else content)
    monkeypatch.setattr(files, "MAX_BYTES", 10**5)
    with pytest.raises(BadInput, match=r"train\.en\.gz"):
        read_gzip(file)


@pytest.mark.fault(22, "symlink")
@pytest.mark.parametrize("name", ["checkpoints", "samples", "log.csv", "results.jsonl", "codec"])
@pytest.mark.parametrize("act", ["load", "clean", "train"])
def test_a_link_out_of_a_run(given: RunDir, tmp_path: Path, monkeypatch, act: str, name: str):
    outside = tmp_path / "mine"
    outside.mkdir()
    treasure = outside / ("last-1.ckpt" if "." not in name else name)
    treasure.write_text("mine")
    shutil.rmtree(given / name, ignore_errors=True)
    (given / name).unlink(missing_ok=True)
    (given / name).symlink_to(treasure if "." in name else outside)
    monkeypatch.setenv("AIGC_RUNS", str(given.path.parents[1]))
    with pytest.raises(NotARun, match=r"leads out of the run's folder|holds results"):
        if act == "load":
            aigc.load(given.path)
        elif act == "clean":
            keeping.main(["clean", str(given.path.parents[1])])
        else:
            given.mark("failed")
            torch.save({"state_dict": {}}, outside / "last-000000000032.ckpt")
            train(compose("train", WORDS))
            given.check_links()
            raise NotARun(
                "begun afresh: the link is gone and leads out of the run's folder no more"
            )
    assert treasure.read_text() == "mine"


@pytest.mark.fault(24, "picture")
@pytest.mark.parametrize("kind", ["EPS", "TIFF", "GIF", "PPM", "ICO"])
def test_a_picture_of_another_kind_than_it_says(tmp_path: Path, kind: str):
    from PIL import Image

    file = tmp_path / "innocent.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, kind)
    with pytest.raises(BadInput, match=r"innocent\.png cannot be read as a picture"):
        read_picture(file, None)


@pytest.mark.fault(24, "table")
@pytest.mark.parametrize("text", ["a,b\n" + "x" * 200_000 + ",2\n", 'a,b\n"1,2\n', "a,b\n1,\0\n\0"])
def test_a_table_that_no_reader_takes(tmp_path: Path, text: str):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"t\.csv"):
        read_csv(file)


@pytest.mark.fault(24, "prompt")
def test_an_endless_prompt(smoke):
    run = smoke("model=autoregressive", "modality=text", "study=hostile", "trainer.preview=0")
    began = time.monotonic()
    with pytest.raises(BadInput, match="prompt"):
        aigc.load(run).sample(1, prompt="a" * 10**8)
    assert time.monotonic() - began < 10


class Ears:
    """A logger that keeps all it is told."""

    heard: ClassVar[list[Any]] = []

    def __init__(self, save_dir: str, api_key: str):
        self.name, self.version, self.experiment = "ears", "0", None

    def __getattr__(self, name: str) -> Callable:
        return lambda *args, **kwargs: self.heard.append((name, args, kwargs))


@pytest.mark.fault(22, "secret")
def test_a_planted_secret_is_found_nowhere(aigc: Callable, monkeypatch):
    secret = "hunter2hunter2hunter2hunter2hunter2hunter"  # as long as a key of wandb's
    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.setenv("HF_TOKEN", secret)
    words = ["study=secret", "logger=[tensorboard,wandb]", "trainer.preview=8"]
    words += [f"+logger.ears._target_={__name__}.Ears", f"+logger.ears.api_key={secret}"]
    code, out, error = aigc("train", *WORDS[:-2], *words)
    assert code == 0 and secret not in out + error
    folder = Path(out.strip().splitlines()[-1])
    found = [f for f in folder.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]
    assert not found and (folder / "log.csv").exists() and list(folder.rglob("*.wandb"))
    assert Ears.heard and secret not in repr(Ears.heard)
