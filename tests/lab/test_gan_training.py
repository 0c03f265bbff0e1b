"""What a GAN's two optimizers do in a real run: clipping, rates, averages, counts of examples."""

import csv
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

import aigc
from aigc.lab.conf import compose
from aigc.lab.training import train

TABLE = [
    "model=gan",
    "modality=tabular",
    "budget=smoke",
    "trainer.preview=0",
    "trainer.validations=0",
]
SGD = ["optimizer=sgd", "optimizer.momentum=0.0", "optimizer.nesterov=false", "optimizer.lr=1.0"]
SGD += ["trainer.decay=constant", "trainer.warmup=0.0", "model.ema=null"]


def run(*words: str):
    return aigc.load(train(compose("train", [*TABLE, "study=gan_training", *words])).path)


def watch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The weights of both nets before the first batch and after each one."""
    from aigc.families.gan.module import GAN

    seen: list[dict[str, torch.Tensor]] = []
    step = GAN.training_step

    def flat(net: nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    def watched(self, batch, index):
        if not seen:
            seen.append({k: flat(getattr(self, k)) for k in ("generator", "critic")})
        step(self, batch, index)
        seen.append({k: flat(getattr(self, k)) for k in ("generator", "critic")})

    monkeypatch.setattr(GAN, "training_step", watched)
    return seen


def moves(seen: list[dict[str, torch.Tensor]], name: str) -> list[float]:
    return [float((b[name] - a[name]).norm()) for a, b in pairwise(seen)]


def test_each_net_moves_by_no_more_than_its_clipped_gradient(monkeypatch: pytest.MonkeyPatch):
    seen = watch(monkeypatch)
    run(*SGD, "model.clip=0.001", "model.critic_lr=3.0", "budget.examples=96", "model.n_critic=2")
    generator, critic = moves(seen, "generator"), moves(seen, "critic")
    assert generator == pytest.approx([0, 0.001, 0], rel=1e-3)  # every second batch
    assert critic == pytest.approx([0.003] * 3, rel=1e-3)  # its own rate


def test_weights_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch):
    seen = watch(monkeypatch)
    run("model/objective=wasserstein", "model.weight_clip=0.01", "budget.examples=96")
    assert seen[0]["critic"].abs().max() > 0.05
    assert max(after["critic"].abs().max() for after in seen[1:]) <= 0.01
    assert seen[-1]["generator"].abs().max() > 0.05


def test_samples_come_from_the_average_and_training_does_not(monkeypatch: pytest.MonkeyPatch):
    seen = watch(monkeypatch)
    found = run("model.ema=0.9", "budget.examples=192")
    averaged = seen[1]["generator"]
    for n, after in enumerate(seen[2:], 1):
        averaged = torch.lerp(averaged, after["generator"], 1 - min(0.9, (1 + n) / (10 + n)))
    kept = torch.cat([p.detach().flatten().cpu() for p in found.model.generator.parameters()])
    assert torch.allclose(kept, averaged, atol=1e-6)
    assert not torch.allclose(kept, seen[-1]["generator"], atol=1e-6)


def test_budgets_count_examples_and_the_log_holds_both_gradients():
    found = run("model.n_critic=3", "budget.examples=320")
    rows = list(csv.DictReader((found.dir / "log.csv").open()))
    assert rows[-1]["examples"] == "320"
    names = {row["name"] for row in rows}
    assert {"train/grad_critic", "train/grad_generator", "train/score_real"} <= names
    norms = [float(row["value"]) for row in rows if row["name"].startswith("train/grad")]
    assert all(0 < norm < 1e3 for norm in norms)


@pytest.mark.parametrize(
    "words",
    [
        ["model.r2=0.5", "model.dragan=1", "model.lecam=0.1", "model.gp=1"],
        ["model/objective=relativistic", "model.pack=2", "labels=false", "model.spectral=true"],
        ["model/objective=hinge", "model.auxiliary=1", "model.info=1", "model.categories=3"],
    ],
)
def test_every_option_trains_in_mixed_precision(words: list[str]):
    found = run("trainer.precision=bf16-mixed", "budget.examples=96", "model.clip=1.0", *words)
    assert found.sample(3).ids.shape[0] == 3  # diverged weights are an error of train


TWO = """
import lightning as L, sys, torch
from lightning.pytorch.strategies import DDPStrategy
from aigc.core.spec import Batch, Space
from aigc.core.views import Grid
from aigc.families.gan.module import GAN
from aigc.nets.conv import ConvDecoder, ConvEncoder
from functools import partial

ids = torch.randint(0, 16, (64, 1, 8, 8), generator=torch.manual_seed(0))
data = torch.utils.data.DataLoader(ids, 8, collate_fn=lambda rows: Batch(torch.stack(rows)))
torch.manual_seed(0)
nets = partial(ConvEncoder, width=8), partial(ConvDecoder, width=8)
model = GAN(*nets, view=Grid(Space((1, 8, 8), 16)), latent=4, n_critic=2, clip=1.0, r1=1.0,
            lecam=0.1, pack=2, spectral=True)
class Same(L.Callback):
    def on_train_end(self, trainer, module):
        flat = torch.cat([p.flatten() for p in module.parameters()])
        both = module.all_gather(flat)
        assert torch.equal(both[0], both[1]) and flat.isfinite().all()
        print("same", trainer.world_size, trainer.fit_loop.epoch_loop.batch_idx + 1)
strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
L.Trainer(accelerator="cpu", devices=2, strategy=strategy, max_epochs=1, logger=False,
          enable_checkpointing=False, callbacks=[Same()], enable_progress_bar=False,
          enable_model_summary=False).fit(model, data)
"""


@pytest.mark.slow
def test_two_processes_keep_the_same_weights(tmp_path: Path):
    """Each sees half of every pass and other noise; their gradients are averaged."""
    file = tmp_path / "two.py"
    file.write_text(TWO)
    out = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr[-2000:]
    assert out.stdout.count("same 2 4") == 2
