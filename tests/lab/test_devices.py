"""Samples and metrics of several processes are those of one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from aigc.lab.ranks import part
from aigc.lab.run import load
from aigc.runs import RunDir

TIMED = {"samples_per_second", "latency_ms", "peak_mb"}


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 1000])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_parts_make_up_the_whole(n: int, world: int):
    parts = [part(n, rank, world) for rank in range(world)]
    assert parts[0][0] == 0 and parts[-1][1] == n
    assert all(a[1] == b[0] and a[1] % 16 == 0 for a, b in pairwise(parts))
    sizes = [stop - start for start, stop in parts]
    assert max(sizes) - min(sizes) < 32


def command(*words: str, by: tuple[str, ...] = ("-m", "aigc")) -> str:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, *by, *words]
    result = subprocess.run(line, capture_output=True, text=True, timeout=200, env=env, cwd=root)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def rows(run: RunDir) -> dict[str, dict]:
    """Rows by metric and extractor, without what a clock says."""
    found = [row for row in run.rows() if row["metric"] not in TIMED]
    return {f"{row['metric']} {row['extractor']}": row for row in found}


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "aigc")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the processes that are started: a sum depends on how many share it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["autoregressive", "diffusion", "vae", "gan"])
def test_two_processes_draw_and_judge_as_one(family: str, smoke, aigc, one_thread, tmp_path: Path):
    run = load(smoke(f"model={family}", "study=ranks"))
    words = ["sample", f"run={run.dir}", "n=100", "batch_size=32"]
    many, options = (["devices=3", "y=3"], {"y": 3}) if family == "vae" else (["devices=2"], {})
    one = run.sample(100, batch_size=32, **options)
    two = np.load(Path(command(*words, *many, f"out={tmp_path}/many")) / "ids.npz")
    assert np.array_equal(one.ids.numpy(), two["ids"]) and np.array_equal(one.y.numpy(), two["y"])
    words = ["evaluate", f"run={run.dir}", "n=64", "metrics=cheap"]
    assert aigc(*words)[0] == 0
    alone = rows(run.dir)
    (run.dir / "results.jsonl").unlink()
    command(*words, "devices=2")
    together = rows(run.dir)
    assert len(alone) > 5 and set(alone) == set(together)
    for name, row in alone.items():
        assert same(row, together[name]), (row, together[name])


def same(a: dict, b: dict) -> bool:
    """Two rows, but for how long a metric took."""
    return {**a, "seconds": 0} == {**b, "seconds": 0}


@pytest.mark.slow
def test_torchrun(smoke):
    """The same commands under torchrun: training, samples and metrics."""
    words = ["train", "model=vae", "budget=smoke", "trainer.validations=2", "strategy=ddp_cpu"]
    run = RunDir(command(*words, "study=torchrun", by=TORCHRUN))
    assert run.is_done
    one, two = (
        np.load(Path(command("sample", f"run={run}", f"out={run}/{i}", by=by)) / "ids.npz")
        for i, by in enumerate((("-m", "aigc"), TORCHRUN))
    )
    assert np.array_equal(one["ids"], two["ids"])
    command("evaluate", f"run={run}", "n=64", by=TORCHRUN)
    many = rows(run)
    (run / "results.jsonl").unlink()
    command("evaluate", f"run={run}", "n=64")
    alone = rows(run)
    assert any(name.startswith("fd") for name in alone) and set(alone) == set(many)
    assert all(same(row, many[name]) for name, row in alone.items())


@pytest.mark.slow
def test_samples_during_training_are_split(folders: Path):
    """The probe and the health of a GAN say what they say in one process."""
    from aigc.lab.sweeps.table import series

    words = [
        "model=gan",
        "budget=smoke",
        "trainer.validations=2",
        "probe=[fd]",
        "trainer.preview=0",
    ]
    runs = [
        RunDir(command("train", *words, f"study=split{i}", *more))
        for i, more in enumerate(([], ["strategy=ddp_cpu"]))
    ]
    for name in ("val/fd", "val/recall", "val/probe_fd", "val/probe_fd_raw"):
        a, b = (series(run, name) for run in runs)
        assert [x for _, x in b] == pytest.approx([x for _, x in a], rel=1e-3), name


def test_a_bad_number_of_devices(aigc, smoke):
    run = smoke("model=vae", "study=ranks")
    code, _, err = aigc("sample", f"run={run}", "devices=0")
    assert code == 2 and "devices=0: a number of processes" in err
