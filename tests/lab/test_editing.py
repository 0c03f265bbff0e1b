"""Guidance and edits of finished runs, on every kind of floats; what they cost is counted."""

import re

import numpy as np
import pytest
import torch
from hydra.utils import get_class

import aigc as package
from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.core.views import Bits, Grid, Table
from aigc.lab.conf import compose
from aigc.lab.editing import float_mask, kept
from aigc.lab.evaluation import timed_samples
from aigc.lab.latents import directions, sefa
from aigc.lab.validate import validate

FAST = ["budget.examples=64", "trainer.preview=0", "sampler.steps=4"]


@pytest.mark.parametrize(
    ("view", "space"),
    [
        (Grid, Space((1, 4, 6), 17)),
        (Bits, Space((6,), 65, ordered=False)),
        (Table, Space((4,), (5, 2, 9, 6), ordered=(True, False, False, True))),
    ],
)
def test_a_mask_of_ids_becomes_one_of_floats(view, space: Space):
    """Floats outside the mask never change with ids inside it, floats inside say all of them."""
    torch.manual_seed(0)
    view, top = view(space), torch.as_tensor(space.levels)
    mask = torch.rand(1, *space.shape) < 0.5
    floats = float_mask(view, mask, space.levels)
    a, b = ((torch.rand(200, *space.shape) * top).long() for _ in range(2))
    mixed = view.decode(torch.where(floats, view.encode(a), view.encode(b)))
    assert torch.equal(mixed, torch.where(mask, a, b))


@pytest.mark.parametrize("modality", ["image", "text", "tabular"])
def test_inpainting_keeps_the_first_part_of_every_modality(smoke, modality: str):
    run = package.load(smoke("model=diffusion", f"modality={modality}", *FAST))
    samples = run.sample(6, edit="inpaint", keep=0.5)
    known, labels = run.store.examples("test", 6)
    mask = kept(known, 0.5)
    assert mask.double().mean() == pytest.approx(0.5, abs=0.13)
    assert torch.equal(samples.ids[mask], known[mask])
    assert not torch.equal(samples.ids, known)
    if samples.y is not None:
        assert samples.y.tolist() == labels.tolist()
    again = run.sample(2, edit="inpaint", keep=0.5, source=known)
    assert torch.equal(again.ids[:2], samples.ids[:2]) or samples.y is not None


def test_edits_of_the_command_line(aigc, smoke, tmp_path):
    run = str(smoke("model=diffusion", *FAST))
    for edit, words in (
        ("inpaint", ["edit.keep=0.25"]),
        ("sdedit", ["edit.strength=0.25", "y=3"]),
        ("interpolate", ["edit.count=4"]),
    ):
        code, out, err = aigc("sample", f"run={run}", "n=8", f"edit={edit}", *words)
        assert code == 0, err
        assert f"-{edit}" in out and np.load(f"{out.strip()}/ids.npz")["ids"].shape[0] == 8
    source = f"{out.strip()}/ids.npz"
    code, out, err = aigc("sample", f"run={run}", "edit=sdedit", f"edit.source={source}")
    assert code == 0, err
    for words, line in (
        (["edit=inpant"], "unknown edit 'inpant'.*did you mean 'inpaint'"),
        (["edit=inpaint", "edit.keep=2"], "edit.keep=2: between 0 and 1"),
        (["edit=sdedit", "edit.source=nowhere"], "edit.source=nowhere: train, validation"),
        (["edit=sdedit", "edit.strength=0"], "strength=0"),
    ):
        code, _, err = aigc("sample", f"run={run}", *words)
        assert code == 2
        assert re.search(line, err), err


@pytest.mark.parametrize("modality", ["image", "text", "tabular"])
def test_a_vae_goes_from_one_example_to_the_next(smoke, modality: str):
    run = package.load(smoke("model=vae", f"modality={modality}"))
    count = 3
    samples = run.sample(2 * count, edit="interpolate", count=count)
    ids, y = run.store.examples("test", 3)
    with torch.no_grad():
        z = run.model.encode(run.model.view.encode(ids), y)
        ends = [0, 1, 1, 2]
        labels = None if y is None else y[[0, 1, 1, 2]]
        data = run.model.view.decode(run.model.decode(z[ends], labels))
    assert (samples.ids[[0, 2, 3, 5]] == data).double().mean() > 0.99  # batches differ by rounding
    if y is not None:
        assert samples.y.tolist() == [int(y[k]) for k in (0, 0, 1, 1, 1, 2)]
    chord = run.sample(2 * count, edit="interpolate", count=count, path="linear")
    assert torch.equal(chord.ids[[0, 2]], samples.ids[[0, 2]])


def test_a_gan_goes_from_one_of_its_samples_to_the_next(smoke):
    run = package.load(smoke("model=gan"))
    walk = run.sample(8, seed=3, edit="interpolate", count=4)
    plain = run.sample(3, seed=3)
    assert torch.equal(walk.ids[[0, 3, 4, 7]], plain.ids[[0, 1, 1, 2]])
    assert walk.y[[0, 7]].tolist() == plain.y[[0, 2]].tolist()
    rows = run.sample(10, seed=3, edit="traverse", count=5, dims=[0, 2])
    assert torch.equal(rows.ids[[2, 7]], plain.ids[[0, 0]])
    assert set(rows.y.tolist()) == {int(plain.y[0])}


def test_a_traversal_goes_along_the_dimensions_in_order_of_their_kl(smoke):
    run = package.load(smoke("model=vae"))
    bank = run.model.bank
    kl = 0.5 * (bank.mean**2 + bank.log_var.exp() - 1 - bank.log_var).mean(0)
    axes = directions(run.model)
    assert axes[0].argmax() == kl.argmax() and axes[-1].argmax() == kl.argmin()
    rows = run.sample(6, edit="traverse", count=3, dims=[0, 15])
    assert len(set(rows.y.tolist())) == 1 and rows.y[0] == run.store.examples("test", 1)[1][0]
    with pytest.raises(BadInput, match=r"edit.dims=\[16\]: some of 0 to 15"):
        run.sample(6, edit="traverse", dims=[16])
    with pytest.raises(BadInput, match="edit 'inpaint' does not work on a vae"):
        run.sample(6, edit="inpaint")


def test_sefa_finds_the_direction_that_moves_a_layer_most():
    class Generator(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.other = torch.nn.Linear(3, 4), torch.nn.Linear(4, 3)
            self.inp.weight.data = torch.tensor([[0, 2.0, 0], [0, 0, 0], [5, 0, 0], [0, 0, 1]])

        def forward(self, z):
            return self.other(self.inp(z))

    found = sefa(Generator(), torch.zeros(2, 3)).abs()
    assert torch.allclose(found, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))


def test_a_strength_of_almost_nothing_returns_the_example(smoke):
    run = package.load(smoke("model=diffusion", *FAST))
    known, _ = run.store.examples("test", 4)
    samples = run.sample(4, edit="sdedit", strength=0.001)
    assert (samples.ids - known).abs().double().mean() < 1
    with pytest.raises(BadInput, match="strength: options of an edit"):
        run.sample(4, strength=0.5)


def test_guidance_doubles_the_evaluations_where_it_acts(smoke):
    run = package.load(smoke("model=diffusion", "model.label_dropout=0.2", *FAST))

    def nfe(**options) -> int:
        strategy = run.sampler("ddim", **{"steps": 4} | options)
        return timed_samples(run, 16, 0, strategy, 16)[1]["nfe"]

    assert nfe() == 4
    assert nfe(guidance=2.0) == 8
    assert nfe(guidance=2.0, interval=[0.3, 0.8]) == 6  # times are 1, 0.75, 0.5, 0.25
    assert nfe(guidance=2.0, guide=str(run.dir)) == 8
    plain = run.sample(8, sampler=run.sampler("ddim", steps=4)).ids
    same = run.sample(8, sampler=run.sampler("ddim", steps=4, guidance=1.0)).ids
    own = run.sampler("ddim", steps=4, guidance=3.0, guide=str(run.dir))
    assert torch.equal(plain, same) and torch.equal(plain, run.sample(8, sampler=own).ids)
    other = run.sampler("ddim", steps=4, guidance=1000.0)  # the run has seen 64 examples
    assert not torch.equal(plain, run.sample(8, sampler=other).ids)


def test_guidance_that_cannot_be_is_refused(smoke):
    run = package.load(smoke("model=diffusion", *FAST))
    flow = smoke("model=flow", *FAST)
    for options, line in (
        ({"guidance": 2.0}, "label_dropout"),
        ({"interval": [0.2, 0.8]}, "needs its scale"),
        ({"guidance": 2.0, "guide": str(flow)}, "with the same schedule"),
    ):
        with pytest.raises(BadInput, match=line):
            run.sample(2, sampler=run.sampler("ddim", **options))


@pytest.mark.parametrize("model", ["diffusion", "flow", "edm"])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp", "unipc", "ancestral", "adaptive"])
def test_every_sampler_samples_every_kind_of_run(smoke, model: str, sampler: str):
    run = package.load(smoke(f"model={model}", *FAST))
    strategy = run.sampler(sampler, steps=3)
    whole = run.sample(20, seed=1, sampler=strategy, batch_size=20)
    assert torch.equal(run.sample(20, seed=1, sampler=strategy, batch_size=7).ids, whole.ids)


def test_objectives_train_and_have_a_likelihood(smoke):
    x = None
    for words in (
        ["model.variance=learned", "model/schedule=linear", "model.weight=p2"],
        ["model=flow", "model/schedule=vp", "model.weight=min_snr"],
        ["model=edm", "model.nats_by=ode"],
    ):
        run = package.load(smoke("modality=tabular", "model.terms=20", *words, *FAST))
        if x is None:
            x = run.model.view.encode(torch.from_numpy(run.store.ids("test")[:8].astype("int64")))
        nats = run.model.nats(x, torch.zeros(8, dtype=torch.long))
        assert nats.shape == (8,) and torch.isfinite(nats).all() and (nats > 0).all()


def test_each_schedule_and_edit_composes():
    from aigc.lab.choices import choices, conf_dir

    for name in (f.stem for f in (conf_dir() / "model" / "schedule").glob("*.yaml")):
        assert name in choices()["model/schedule"]
        validate(compose("train", ["model=diffusion", f"model/schedule={name}"]))
    for name in (f.stem for f in (conf_dir() / "edit").glob("*.yaml")):
        words = ["run=x", "sampler=ddim", "model.name=diffusion", f"edit={name}"]
        for target in set(compose("sample", words)["edit"]["families"].values()):
            assert get_class(target)
        assert compose("sample", words)["edit"]["name"] == name
