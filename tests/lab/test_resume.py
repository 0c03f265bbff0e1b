"""A run that was interrupted equals one that was not: the examples it saw, its log, its weights."""

import csv
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aigc.core.errors import BadInput
from aigc.lab.callbacks import Log
from aigc.lab.checkpoint import Damaged
from aigc.lab.conf import compose
from aigc.lab.states import Checkpoints
from aigc.lab.training import train
from aigc.runs import RunDir, signature

FAMILIES = ("autoregressive", "diffusion", "vae", "gan")
BATCHES, SIZE = 9, 32
QUICK = [
    "budget=smoke", f"budget.examples={BATCHES * SIZE}", "trainer.validations=3",
    "trainer.preview=0", "trainer.log_points=5", f"trainer.save_every={SIZE}",
]  # fmt: skip


def run(*words: str) -> Path:
    return train(compose("train", [*QUICK, *words])).path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "model.safetensors")


def log(folder: Path) -> list[tuple]:
    rows = csv.DictReader((folder / "log.csv").open())
    return [(r["examples"], r["name"], r["value"]) for r in rows]


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    equal = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return equal and log(one) == log(other)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[bytes]]]:
    """The batches that were trained on: their number and their examples."""
    batches: list[tuple[int, list[bytes]]] = []
    hook = Log.on_train_batch_end

    def spy(self, trainer, module, outputs, batch, index) -> None:
        batches.append((index, [row.numpy().tobytes() for row in batch.ids]))
        hook(self, trainer, module, outputs, batch, index)

    monkeypatch.setattr(Log, "on_train_batch_end", spy)
    return batches


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`states(...)`: a run that leaves the state before each of its batches."""
    monkeypatch.setattr("aigc.lab.states.KEPT", 99)
    monkeypatch.setattr(Checkpoints, "clear", lambda self: None)
    monkeypatch.setattr("aigc.lab.states._keep", lambda *a: None)
    return run


def state(folder: Path, batch: int, size: int = SIZE) -> Path:
    return folder / "checkpoints" / f"last-{batch * size:012d}.ckpt"


@pytest.mark.parametrize("family", FAMILIES)
def test_it_goes_on_as_if_nothing_had_happened(family: str, states, seen):
    whole = states(f"model={family}", "study=whole")
    order, seen[:] = list(seen), []
    assert [i for i, _ in order] == list(range(BATCHES))
    part = states(f"model={family}", f"resume={state(whole, 4)}", "study=part")
    assert part.name == whole.name
    assert seen == order[4:] and same(whole, part)


@pytest.mark.fault(8)
@pytest.mark.parametrize("family", FAMILIES)
def test_it_goes_on_from_every_batch_of_two_epochs(family: str, states, seen, tried):
    epoch, batch = 80, 16  # five batches, so that a state lies between the epochs
    words = [f"model={family}", "modality=tabular", "dataset=wine", f"dataset.limit={epoch}"]
    words += [f"budget.batch_size={batch}", f"budget.examples={2 * epoch}", "study=every"]
    words += [f"trainer.save_every={batch}"]
    whole = states(*words)
    order, last = list(seen), 2 * epoch // batch
    for k in range(1, last):
        seen.clear()
        given = [f"resume={state(whole, k, batch)}", f"study=every{k}"]
        part = states(*words, *given)
        assert seen == order[k:], k
        rows = [row for _, rows in order[:k] + seen for row in rows]
        assert Counter(rows[:epoch]) == Counter(rows[epoch:])  # no example twice, none missing
        assert same(whole, part), k
    tried(tries=last - 1, survived=last - 1, lost_steps=0, lost_rows=0)


@pytest.mark.fault(11)
def test_a_gan_goes_on_between_two_steps_of_its_generator(states, seen, tried):
    words = ["model=gan", "model.n_critic=3", f"trainer.save_every={SIZE}"]
    whole = states(*words, "study=odd")
    order, ends = list(seen), [k for k in range(1, BATCHES) if k % 3]
    for k in ends:
        seen.clear()
        part = states(*words, f"study=odd{k}", f"resume={state(whole, k)}")
        assert seen == order[k:] and same(whole, part), k
    assert RunDir(whole).status["examples"] == BATCHES * SIZE  # two optimizers, one budget
    tried(tries=len(ends), survived=len(ends), lost_steps=0, lost_rows=0)


def stop_at(monkeypatch: pytest.MonkeyPatch, batch: int, stop: Callable[[], None]) -> None:
    """Call `stop` once, when a batch begins."""
    hook, done = Checkpoints.on_train_batch_start, []

    def spy(self, trainer, module, data, index) -> None:
        hook(self, trainer, module, data, index)
        if index == batch and not done:
            done.append(True)
            stop()

    monkeypatch.setattr(Checkpoints, "on_train_batch_start", spy)


@pytest.mark.parametrize("family, batch", [("vae", 2), ("gan", 4)])
def test_a_signal_saves_and_the_run_goes_on(monkeypatch, seen, capsys, family: str, batch: int):
    words = [f"model={family}", f"study=signal{batch}", "trainer.save_every=60m"]
    whole = run(*words, f"study=unhurt{batch}")
    order, seen[:] = list(seen), []
    stop_at(monkeypatch, batch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 143
    folder = RunDir.of(compose("train", [*QUICK, *words]))
    assert folder.status["state"] == "failed"
    assert state(folder.path, batch + 1).exists()  # the batch of the signal is finished
    assert f"kept {(batch + 1) * SIZE} examples, lost 0" in capsys.readouterr().err
    assert run(*words) == folder.path and folder.is_done and "reason" not in folder.status
    assert seen == order and same(whole, folder.path)
    kinds = [row["event"] for row in folder.rows("events.jsonl")]
    assert kinds == ["stopped", "resumed"]
    assert not list((folder / "checkpoints").glob("*.ckpt"))


@pytest.mark.fault(9)
def test_workers_may_change_on_the_way(states, seen):
    def at(where: str) -> list[str]:
        return [f"trainer.where={where}", "trainer.workers=2"]

    whole = states("model=vae", "study=w", *at("device"))
    read = states("model=vae", "study=w1", f"resume={state(whole, 4)}", *at("workers"))
    back = states("model=vae", "study=w2", f"resume={state(read, 6)}", *at("device"))
    assert read.name == whole.name and same(whole, read) and same(whole, back)


@pytest.mark.fault(9)
@pytest.mark.parametrize("validations", [0, 9])
def test_validations_lie_anywhere(states, validations: int):
    words = ["model=vae", f"trainer.validations={validations}", f"study=val{validations}"]
    whole = states(*words)
    for k in (2, 3, 7):
        part = states(*words, f"study=val{validations}-{k}", f"resume={state(whole, k)}")
        assert same(whole, part), k


def test_early_stopping_is_remembered(states, seen):
    words = ["model=vae", "trainer.patience=1", "optimizer.lr=0.3", "trainer.validations=9"]
    whole = states(*words, "study=early")
    stopped = max(i for i, _ in seen) + 1
    assert 1 < stopped < BATCHES
    part = states(*words, "study=early1", f"resume={state(whole, stopped - 1)}")
    assert same(whole, part)


@pytest.mark.fault(4)
def test_the_newest_sound_state_is_taken_and_the_loss_is_said(states, capsys):
    whole = states("model=vae", "study=fall")
    RunDir(whole).mark("failed")
    flip(state(whole, 8))
    state(whole, 7).write_bytes(b"")
    capsys.readouterr()
    expected = log(whole)
    assert run("model=vae", "study=fall") == whole
    error = capsys.readouterr().err
    lost = 2 * SIZE
    assert f"going on from {6 * SIZE} examples, {lost} lost" in error
    assert f"last-{8 * SIZE:012d}.ckpt" in error and log(whole) == expected


@pytest.mark.fault(5)
def test_the_state_before_the_newest_has_its_best_weights(monkeypatch):
    """A validation lies between the two, whose weights are now the best."""
    whole, hook = run("model=vae", "study=before"), Log.on_train_batch_end

    def cut(self, trainer, module, outputs, batch, index) -> None:
        hook(self, trainer, module, outputs, batch, index)
        if index == 6:
            raise RuntimeError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "on_train_batch_end", cut)
        with pytest.raises(RuntimeError, match="cut"):
            run("model=vae", "study=before_cut")
    (folder,) = (whole.parents[1] / "before_cut").iterdir()
    best = sorted(f.name for f in (folder / "checkpoints").glob("best-*.ckpt"))
    assert best == [f"best-{batch * SIZE:012d}.ckpt" for batch in (3, 6)]
    flip(state(folder, 6))
    assert same(run("model=vae", "study=before_cut"), whole)


@pytest.mark.fault(6)
def test_a_named_file_is_never_replaced(states):
    whole = states("model=vae", "study=named")
    flip(state(whole, 8))
    with pytest.raises(Damaged, match=r"last-.*damaged or missing"):
        run("model=vae", "study=named1", f"resume={state(whole, 8)}")
    with pytest.raises(BadInput, match=r"no sound last-\*\.ckpt"):
        run("model=vae", "study=named1", "resume=/nowhere")
    with pytest.raises(BadInput, match=r"has signature vae-.*resume=never"):
        run("model=vae", "seed=1", "study=named1", f"resume={whole}")


@pytest.mark.fault(6)
def test_damaged_best_weights_are_not_passed_over(states):
    whole = states("model=vae", "study=best")
    RunDir(whole).mark("failed")
    best = sorted((whole / "checkpoints").glob("best-*.ckpt"))
    assert best
    for file in best:
        flip(file)
    with pytest.raises(Damaged, match=r"best-.*resume=never"):
        run("model=vae", "study=best")
    assert run("model=vae", "study=best", "resume=never") == whole


def test_resuming_does_not_rename_a_run():
    def name(*words: str) -> str:
        return signature(compose("train", list(words)))

    assert name() == name("resume=never") == name("trainer.save_every=1000")


@pytest.mark.fault(10)
def test_another_number_of_processes_is_refused():
    from types import SimpleNamespace

    from aigc.data.datamodule import DataModule

    data = DataModule(None, 32, 320)
    data.trainer = SimpleNamespace(world_size=1)
    with pytest.raises(BadInput, match="over 2 processes, this one over 1"):
        data.load_state_dict({"done": 3, "world": 2})


def flip(file: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
@pytest.mark.fault(10)
def test_two_processes_go_on_exactly(tmp_path: Path):
    """A signal to rank zero of two, then the same command again."""
    words = ["model=vae", "strategy=ddp_cpu", *QUICK]
    whole = command(*words, "study=two", "resume=never")
    assert whole.returncode == 0, whole.stderr
    plugin = tmp_path / "hurt.py"
    plugin.write_text(HURT)
    hurt = command(*words, "study=hurt", "plugins=[hurt]", cwd=tmp_path)
    assert hurt.returncode == 143, hurt.stderr
    again = command(*words, "study=hurt", cwd=tmp_path)
    assert again.returncode == 0 and "going on from 256 examples" in again.stderr, again.stderr
    a, b = (Path(r.stdout.strip().splitlines()[-1]) for r in (whole, again))
    assert a.name == b.name and same(a, b)


HURT = """
import os, signal
from aigc.lab.callbacks import Seeds
hook = Seeds.on_train_batch_start
def hurt(self, trainer, module, batch, index):
    hook(self, trainer, module, batch, index)
    if index == 4 and trainer.global_rank == 0:
        os.kill(os.getpid(), signal.SIGTERM)
Seeds.on_train_batch_start = hurt
"""


def command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "aigc", "train", *words]
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=cwd, env=env)
