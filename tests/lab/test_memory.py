"""Batches in parts: the gradient, the log and the random numbers of a step that did not fit."""

import csv

import pytest
import torch

from aigc.core.errors import BadInput
from aigc.families.base import GenerativeModule
from aigc.lab.conf import compose
from aigc.lab.run import load
from aigc.lab.training import train
from aigc.runs import RunDir, signature

QUICK = [
    "budget=smoke", "budget.examples=320", "trainer.validations=2", "trainer.preview=0",
    "trainer.oom=halve", "trainer.warmup=0", "optimizer=sgd", "optimizer.lr=0.1",
]  # fmt: skip


def fits(monkeypatch: pytest.MonkeyPatch, family: type, most: int, where: str) -> None:
    """Memory for `most` examples in training."""
    method = getattr(family, where)
    sizes: list[int] = []
    loss = family.loss

    def seen(self, x, y):
        sizes.append(len(x) if self.training else 0)
        return full(self, loss, x, y) if where == "loss" else loss(self, x, y)

    def full(self, call, *args, **kwargs):
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return call(self, *args, **kwargs)

    monkeypatch.setattr(family, "loss", seen)
    if where == "backward":
        monkeypatch.setattr(
            GenerativeModule, "backward", lambda self, *a, **k: full(self, method, *a, **k)
        )


def log(run: RunDir) -> list[tuple[str, float]]:
    return [(r["name"], float(r["value"])) for r in csv.DictReader((run / "log.csv").open())]


@pytest.mark.fault(18)
@pytest.mark.parametrize("where", ["loss", "backward"])
@pytest.mark.parametrize("words", [["modality=tabular"], ["modality=text", "dataset=pydoc"]])
def test_parts_give_the_step_of_the_whole(monkeypatch, capsys, where: str, words: list[str]):
    from aigc.families.autoregressive.module import Autoregressive

    words = ["model=autoregressive", "net.causal_lm.dropout=0", *words, *QUICK]
    whole = train(compose("train", [*words, "study=whole"]))
    with monkeypatch.context() as patch:
        fits(patch, Autoregressive, 11, where)
        parts = train(compose("train", [*words, f"study=parts{where}"]))
    events = [(r["event"], r["parts"]) for r in parts.rows("events.jsonl")]
    assert events == [("halved", 2), ("halved", 4)]
    assert "batches in 4 parts from here on" in capsys.readouterr().err
    for one, other in zip(*(load(r.path).model.parameters() for r in (whole, parts))):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for (name, a), (same, b) in zip(log(whole), log(parts)):
        assert name == same and a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("family", ["diffusion", "vae"])
def test_families_that_draw_noise_go_on(monkeypatch, family: str):
    from aigc.families.diffusion.module import Diffusion
    from aigc.families.vae.module import VAE

    cls = {"diffusion": Diffusion, "vae": VAE}[family]
    words = [f"model={family}", "modality=tabular", *QUICK, "optimizer.lr=0.001", "study=noise"]
    fits(monkeypatch, cls, 16, "loss")
    run = train(compose("train", words))
    assert run.is_done and run.rows("events.jsonl")[0]["parts"] == 2


def test_what_does_not_fit_at_all_is_said(monkeypatch):
    from aigc.families.vae.module import VAE

    fits(monkeypatch, VAE, 0, "loss")
    with pytest.raises(MemoryError, match="out of memory: a smaller"):
        train(compose("train", ["model=vae", "modality=tabular", *QUICK, "study=never"]))


@pytest.mark.parametrize(
    "words",
    [
        ["model=gan"],
        ["model=vqvae"],
        ["model=vae", "model/bound=tc"],
        ["model=vae", "model/bound=wae"],
    ],
)
def test_a_loss_that_is_no_mean_is_refused(words: list[str]):
    if words[0] == "model=vqvae":
        words = [*words, "net/encoder=map", "net/decoder=map"]
    with pytest.raises(BadInput, match=r"trainer\.oom=halve: the loss of this"):
        train(compose("train", [*words, "study=refused", *QUICK[:5]]))


def test_it_is_part_of_the_name_only_where_it_is_on():
    off, on = (compose("train", words) for words in ([], ["trainer.oom=halve"]))
    assert signature(off) != signature(on)
    del off["trainer"]["oom"]
    assert signature(off) == signature(compose("train", []))
    with pytest.raises(BadInput, match=r"unknown trainer\.oom"):
        train(compose("train", ["trainer.oom=haelve"]))


@pytest.mark.parametrize("family", ["gan", "autoregressive"])
def test_parts_that_are_asked_for_give_the_step_of_the_whole(monkeypatch, family: str):
    from aigc.families.gan.module import GAN

    def noise(self: GAN, x: torch.Tensor) -> torch.Tensor:
        """A latent that goes with its example, whatever the part."""
        return torch.sin(37 * x.flatten(1).sum(1)[:, None] * torch.arange(1, self.latent + 1))

    monkeypatch.setattr(GAN, "_noise", noise)
    sizes: list[int] = []
    loss = GAN.loss
    monkeypatch.setattr(GAN, "loss", lambda self, x, y: sizes.append(len(x)) or loss(self, x, y))
    words = [f"model={family}", "modality=tabular", "budget.batch_size=32", *QUICK]
    words = [word for word in words if "oom" not in word] + ["optimizer.lr=0.01"]
    words += {"gan": ["model.r1=0.5"], "autoregressive": ["net.causal_lm.dropout=0"]}[family]
    whole = train(compose("train", [*words, "study=whole"]))
    if family == "gan":
        assert set(sizes) == {32}
        sizes.clear()
    parts = train(compose("train", [*words, "study=parts", "trainer.parts=3"]))
    if family == "gan":
        assert set(sizes) == {11, 10}
    assert [name for name, _ in log(parts)] == [name for name, _ in log(whole)]
    for (name, a), (_, b) in zip(log(whole), log(parts)):
        assert a == pytest.approx(b, rel=2e-4, abs=2e-5), name
    one, other = (load(run.path).model.state_dict() for run in (whole, parts))
    assert all(torch.allclose(one[k], other[k], atol=1e-6) for k in one)


def test_parts_are_in_the_name_of_a_run_and_refused_where_they_are_none():
    off, on = (compose("train", words) for words in ([], ["trainer.parts=2"]))
    assert signature(off) != signature(on)
    del off["trainer"]["parts"]
    assert signature(off) == signature(compose("train", []))
    with pytest.raises(BadInput, match=r"trainer\.parts=0: at least 1"):
        train(compose("train", ["trainer.parts=0"]))
    with pytest.raises(BadInput, match=r"trainer\.parts=2: the loss of this textgan"):
        train(compose("train", ["model=text_gan", "modality=text", "trainer.parts=2", *QUICK[:4]]))
