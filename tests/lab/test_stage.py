"""Two-stage runs: composed of what is there, self-sufficient, and honest about likelihoods."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import aigc
from aigc.core.errors import BadInput
from aigc.lab.conf import compose
from aigc.lab.evaluation import kind_of, likelihood
from aigc.lab.training import train
from aigc.lab.validate import validate
from aigc.runs import RunDir, signature

MAPS = ["net/encoder=map", "net/decoder=map", "net.encoder.down=1", "net.decoder.down=1"]
TINY = ["trainer.preview=8", "budget.examples=64"]
SOUND = ["modality.codec.length=128"]
FIRST = {
    "vae": ["model=vae", "model.latent=3", *MAPS],
    "vq": ["model=vqvae", "model.quantizer.size=16", *MAPS],
    "rvq": ["model=vqvae", "model/quantizer=rvq", "model.quantizer.size=8", *MAPS],
}


@pytest.fixture(scope="module")
def stage(smoke):
    """A trained first stage by name and modality."""

    def run(name: str, modality: str = "image") -> Path:
        sound = SOUND if modality == "audio" else []
        return smoke(f"modality={modality}", *TINY, *sound, *FIRST[name])

    return run


SECOND = [
    ("vae", "image", "diffusion", "latent"),
    ("vae", "image", "gan", "latent"),
    ("vae", "image", "vae", "latent"),
    ("vae", "audio", "diffusion", "latent"),
    ("vq", "image", "autoregressive", "vq"),
    ("rvq", "audio", "autoregressive", "vq"),
]


@pytest.mark.parametrize(("first", "modality", "family", "view"), SECOND)
def test_a_second_stage_does_without_the_first(
    smoke, stage, tmp_path, first, modality, family, view
):
    kept = tmp_path / "kept"
    shutil.copytree(origin := stage(first, modality), kept / origin.name)
    words = [f"modality={modality}", f"view={view}", f"run={kept / origin.name}", *TINY]
    words += SOUND if modality == "audio" else []
    words += ["sampler.steps=3"] if family == "diffusion" else []
    folder = smoke(f"model={family}", *words)
    shutil.rmtree(kept)
    run = aigc.load(folder)
    preview = np.load(folder / "samples" / "preview" / "ids.npz")
    assert np.array_equal(run.sample(8).ids.numpy(), preview["ids"])

    ids, y = run.store.examples("test", 16)
    x = run.model.view.encode(ids)
    assert x.shape[1:] == run.model.view.spec.shape
    assert not x.requires_grad
    assert run.model.view.decode(x).shape == ids.shape
    own = {name for name, _ in run.model.named_parameters()}
    assert not any("view" in name for name in own)
    assert run.dir.status["parameters"] == sum(p.numel() for p in run.model.parameters())

    nats = likelihood(run, ids, y, 8)
    if view == "latent":
        assert (kind_of(run.model), nats) == ("none", None)
        return
    assert kind_of(run.model) == "bound"
    rest = run.model.view.nats(ids)
    assert torch.allclose(nats, (run.model.nats(x, y) + rest).double(), atol=1e-3)


def test_latents_have_mean_0_and_variance_1_and_keep_their_axes(smoke, stage):
    words = ["model=diffusion", "view=latent", f"run={stage('vae')}", "sampler.steps=3", *TINY]
    view = aigc.load(smoke(*words)).model.view
    assert view.spec.shape == (3, 4, 4)
    assert view.spec.quantum == 0
    means = view.model.bank.mean.unflatten(1, (3, 4, 4))
    z = (means - view.mean) / view.sd
    assert z.mean((0, 2, 3)) == pytest.approx([0.0] * 3, abs=1e-4)
    assert z.std((0, 2, 3)) == pytest.approx([1.0] * 3, abs=1e-4)


def test_residual_codes_lie_with_the_depth_fastest(smoke, stage):
    words = ["model=autoregressive", "view=vq", f"run={stage('rvq')}", *TINY]
    run = aigc.load(smoke(*words))
    first = run.model.view.model
    ids, _ = run.store.examples("test", 4)
    codes = first.quantizer(first.encoder(first.view.encode(ids))).codes  # (B, depth, 4, 4)
    tokens = run.model.view.encode(ids)
    assert torch.equal(tokens[:, :4], codes[:, :, 0, 0])
    assert torch.equal(tokens[:, 4:8], codes[:, :, 0, 1])


def test_the_name_of_a_run_holds_that_of_its_first_stage_and_not_the_place():
    words = ["model=diffusion", "view=latent"]
    here, there, other = (
        signature(compose("train", [*words, f"run={path}"]))
        for path in ("/a/vae-digits-s0-1", "/b/c/vae-digits-s0-1/", "/a/vae-digits-s0-2")
    )
    assert here == there != other


def test_what_a_run_keeps_of_another_is_no_run_of_the_study(smoke, stage):
    folder = smoke("model=autoregressive", "view=vq", f"run={stage('rvq')}", *TINY)
    found = [run.path for run in RunDir.below(folder.parents[1])]
    assert folder in found
    assert folder / "view" not in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=diffusion", "view=latent"], "needs run=DIR"),
        (["model=diffusion", "run=x"], "a first stage is for view=latent or view=vq"),
        (["model=diffusion", "view=vq", "run=x"], "choose from grid, bits, table, latent"),
        (["model=autoregressive", "view=latent", "run=x"], "choose from tokens, vq"),
        (["model=vae", "view=latents"], "did you mean 'latent'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(words, message):
    with pytest.raises(BadInput, match=message):
        validate(compose("train", words))


def test_a_first_stage_that_does_not_fit_is_refused(smoke, stage):
    labelled = smoke("model=vae", "trainer.preview=8", "budget.examples=128")
    cases = [
        (["model=diffusion", "view=latent", f"run={stage('vq')}"], "has no latents"),
        (["model=autoregressive", "view=vq", f"run={stage('vae')}"], "has no codes"),
        (["model=diffusion", "view=latent", f"run={labelled}"], "read labels"),
        (
            ["model=diffusion", "view=latent", f"run={stage('vae')}", "split.seed=1"],
            "trained on other data",
        ),
    ]
    for words, message in cases:
        with pytest.raises(BadInput, match=message) as error:
            train(compose("train", ["budget=smoke", *words]))
        assert "\n" not in str(error.value)
