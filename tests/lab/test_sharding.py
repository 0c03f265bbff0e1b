"""A model in parts trains as a whole one, and its states are read by one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aigc.lab.sweeps.table import series
from aigc.runs import RunDir

WORDS = ["budget=smoke", "trainer.validations=4", "trainer.preview=0", "budget.examples=320"]
KEEP = """
import os
from aigc.lab.states import Checkpoints
if "KEEP" in os.environ:
    Checkpoints.clear = lambda self: None
"""
STOP = """
import os
from aigc.lab.states import Checkpoints
save = Checkpoints._save
def stopped(self, trainer, batches):
    save(self, trainer, batches)
    if batches == 6:
        trainer.strategy.barrier()
        os._exit(9)
Checkpoints._save = stopped
"""


def train(cwd: Path, *words: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "KEEP": "1"}
    line = [sys.executable, "-m", "aigc", "train", *words, *WORDS]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, env=env, cwd=cwd)


def trained(cwd: Path, *words: str) -> RunDir:
    result = train(cwd, *words)
    assert result.returncode == 0, result.stderr
    return RunDir(Path(cwd, result.stdout.strip().splitlines()[-1]))


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "keep.py").write_text(KEEP)
    (tmp_path / "stop.py").write_text(STOP)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("family", ["autoregressive", "diffusion", "vae", "masked_diffusion"])
def test_in_parts_as_whole(family: str, plugins: Path):
    """Loss curves, weights and samples; the state that it leaves holds the weights it keeps."""
    from aigc.lab.checkpoint import saved_states
    from aigc.lab.run import load
    from aigc.lab.sharding import whole
    from aigc.lab.strategy import weights_in

    continuous = family in ("diffusion", "vae")  # a token is another one by a rounding
    words = [f"model={family}", f"trainer.save_every={5 * 32}"]
    words += ["probe=[fd]", "sampler=ddim", "sampler.steps=5"] if family == "diffusion" else []
    words += ["probe=[fd]"] if family == "vae" else []
    one = trained(plugins, *words, "study=whole")
    two = trained(plugins, *words, "study=parts", "strategy=fsdp_cpu", "plugins=[keep]")
    for name in ("train/loss", "val/loss"):
        a, b = series(one, name), series(two, name)
        assert len(a) >= 4 and [at for at, _ in a] == [at for at, _ in b]
        assert [x for _, x in b] == pytest.approx([x for _, x in a], abs=1e-5, rel=1e-5), name
    if continuous:  # samples of the average and of the weights themselves, in training
        for name in ("val/probe_fd", "val/probe_fd_raw"):
            values = [[x for _, x in series(run, name)] for run in (one, two)]
            assert len(values[0]) >= 4 and values[1] == pytest.approx(values[0], rel=1e-3), name
    a, b = load(one.path), load(two.path, plugins=["keep"])
    if family == "autoregressive":  # what the model in parts said, by the one put together
        ids, y = b.store.examples("validation", 10**9)
        pairs = zip(ids.split(64), y.split(64))
        with torch.no_grad():
            nats = torch.cat([b.model.nats(b.model.view.encode(x), t) for x, t in pairs])
        best = min(x for _, x in series(two, "val/loss"))
        assert float(nats.mean()) / ids[0].numel() == pytest.approx(best, abs=1e-5)
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values()):
        assert torch.allclose(x.double(), y.double(), atol=2e-4), name
    if family == "diffusion":
        assert (a.sample(16).ids - b.sample(16).ids).abs().float().mean() < 0.05
    (state, *_) = saved_states(two / "checkpoints")
    best = max((two / "checkpoints").glob("best-*.ckpt"))
    assert sorted(f.suffix for f in state.iterdir()) == [".json", ".pt", *[".safetensors"] * 2]
    trees = whole(state)
    assert set(trees) == {"state_dict", "current_model_state", "optimizer_0"}
    kept = weights_in(best)
    for name, p in b.model.named_parameters():
        assert torch.equal(kept[name], p), name
        assert trees["optimizer_0"][f"{name}/exp_avg"].shape == p.shape
        assert not torch.equal(trees["state_dict"][name], trees["current_model_state"][name])


@pytest.mark.slow
def test_a_state_in_parts_goes_on_exactly_and_damage_is_seen(plugins: Path, folders: Path):
    from aigc.lab.checkpoint import saved_states, sound
    from aigc.lab.verify import faults_of

    words = ["model=vae", "strategy=fsdp_cpu", "trainer.save_every=96"]
    whole = trained(plugins, *words, "study=through")
    assert train(plugins, *words, "study=cut", "plugins=[stop]").returncode != 0
    (folder,) = (folders / "runs" / "cut").glob("*/checkpoints")
    files = saved_states(folder)
    assert [f.name for f in files] == ["last-000000000192.ckpt", "last-000000000096.ckpt"]
    shard = next(files[0].glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert not sound(files[0]) and sound(files[1])
    assert list(faults_of(RunDir(folder.parent))) == [f"{files[0].name} is damaged"]
    result = train(plugins, *words, "study=cut")
    assert "last-000000000192.ckpt damaged: going on from 96 examples" in result.stderr
    again = RunDir(folder.parent)
    assert again.is_done and again.status["weights"] == whole.status["weights"]
    assert series(again, "train/loss") == series(whole, "train/loss")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["model=gan", "strategy=fsdp_cpu"],
            "strategy=fsdp_cpu: a gan trains two networks by hand",
        ),
        (["model=vqvae", "strategy=fsdp_cpu"], "its codebook follows the data"),
        (["model=vae", "model/bound=factor", "strategy=fsdp_cpu"], "its critic learns in"),
        (["model=vae", "strategy=fsdp_cpu", "adversary=fgm"], "adversary takes gradients"),
        (["model=gan", "strategy=ddp_static"], "a gan trains by hand"),
        (["model=vae", "strategy=deepspeed"], "strategy=deepspeed needs deepspeed: pip install"),
    ],
)
def test_what_is_not_right_is_refused(aigc, words: list[str], told: str):
    code, _, err = aigc("train", "budget=smoke", "study=refused", *words)
    assert code == 2 and err.strip().count("\n") == 0 and told in err
