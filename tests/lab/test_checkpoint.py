"""Checkpoint files are whole or absent, and never read when they are not what was written."""

import errno
import os
import random
from pathlib import Path

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.lab import checkpoint, states
from aigc.lab.checkpoint import AtomicIO, Damaged, clear_parts, newest, rehearse, sound
from aigc.lab.resume import starting_point
from aigc.runs import RunDir


def save(path: Path, value: float = 1.0) -> Path:
    AtomicIO().save_checkpoint({"state_dict": {"w": torch.full((500,), value)}, "n": 3}, path)
    return path


def test_what_was_saved_is_loaded(tmp_path: Path):
    file = save(tmp_path / "new" / "last-32.ckpt")
    loaded = AtomicIO().load_checkpoint(file)
    assert loaded["n"] == 3 and loaded["state_dict"]["w"].sum() == 500
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.fault(4)
@pytest.mark.fault(5)
def test_every_cut_and_every_flipped_byte_of_the_weights_is_found(tmp_path: Path):
    file = save(tmp_path / "last-32.ckpt")
    whole = file.read_bytes()
    rng = random.Random(0)
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert not sound(file), size
    weights = AtomicIO().load_checkpoint(save(tmp_path / "other.ckpt"))["state_dict"]["w"]
    for _ in range(200):
        changed = bytearray(whole)
        at = rng.randrange(len(whole))
        changed[at] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
        if sound(file):  # padding, or a field of the archive that nothing reads
            assert torch.equal(torch.load(file, weights_only=True)["state_dict"]["w"], weights)
        else:
            with pytest.raises(Damaged, match="damaged, missing or"):
                AtomicIO().load_checkpoint(file)


def test_a_checkpoint_runs_no_code(tmp_path: Path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save({"state_dict": {}, "x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(Damaged, match="damaged, missing or"):
        AtomicIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not marker.exists()


@pytest.mark.fault(13)
@pytest.mark.parametrize("key", ["state_dict", "current_model_state"])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, key: str):
    file = save(tmp_path / "last-32.ckpt")
    bad = {"state_dict": {"w": torch.ones(3)}, key: {"w": torch.tensor([1.0, float("nan")])}}
    with pytest.raises(FloatingPointError, match="diverged"):
        AtomicIO().save_checkpoint(bad, file)
    assert sound(file) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault(3)
def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path, monkeypatch):
    file = save(tmp_path / "last-32.ckpt")
    written = torch.save

    def full(value, stream) -> None:  # as torch does: the cause is hidden behind a RuntimeError
        stream.write(b"half")
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OSError, match="disk full") as error:
        save(file, 2.0)
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(file)
    monkeypatch.setattr(checkpoint.torch, "save", written)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    assert AtomicIO().load_checkpoint(file)["state_dict"]["w"][0] == 1


def test_what_killed_writers_left_is_removed(tmp_path: Path):
    (tmp_path / ".last-32.ckpt.part-1").write_text("half")
    file = save(tmp_path / "last-32.ckpt")
    clear_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.fault(4)
def test_the_newest_sound_file_wins(tmp_path: Path):
    run = RunDir(tmp_path / "s" / "r")
    assert starting_point(run, "auto") == (None, "")
    old, new = (save(run / "checkpoints" / f"last-{n:012d}.ckpt") for n in (64, 128))
    assert newest(run / "checkpoints") == (new, [])
    new.write_bytes(new.read_bytes()[:100])
    assert starting_point(run, "auto")[0] == old
    assert starting_point(run, "never") == (None, "")
    old.write_bytes(b"")
    file, warning = starting_point(run, "auto")
    assert file is None and "from 0 examples, 128 lost" in warning
    with pytest.raises(BadInput, match="no sound"):
        starting_point(run, str(run))


@pytest.mark.fault(20)
def test_too_little_room_is_said_before_training(tmp_path: Path):
    rehearse(tmp_path / "checkpoints", 1000)
    assert not list((tmp_path / "checkpoints").iterdir())
    with pytest.raises(BadInput, match="three checkpoints need"):
        rehearse(tmp_path, 10**15)


@pytest.mark.parametrize("every, batches", [("96", 3), (96, 3), (1, 1), ("5m", 0), ("0.5m", 0)])
def test_the_interval_is_minutes_or_examples(every, batches: int):
    seconds, count = states._interval(every, 32)
    assert count == batches and bool(seconds) != bool(count)


@pytest.mark.parametrize("every", ["5h", "0", "-3", "m", "1.5"])
def test_another_interval_is_refused(every: str):
    with pytest.raises(BadInput, match="minutes as 5m"):
        states._interval(every, 32)
