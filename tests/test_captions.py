"""Captions in the place of labels: from the data set to a sampled picture, in all families."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aigc import load
from aigc.core.caption import decode, encode
from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.data.sets.captioned import COLOURS, COUNTS, captioned_digits
from aigc.lab.run import Run
from aigc.nets.transformer import CausalTransformer
from aigc.nets.unet import UNet

FAMILIES = ["autoregressive", "diffusion", "vae", "gan"]


def test_captions_come_back_and_long_ones_are_refused():
    texts = ["three sevens in red", "", "é"]
    y = encode(texts, 19)
    assert y.shape == (3, 19) and decode(y) == texts
    with pytest.raises(BadInput, match="has 19 bytes: at most 18"):
        encode(texts, 18)


def test_pictures_show_what_their_captions_say():
    source = captioned_digits(n=300)
    assert {k: len(v) for k, v in source.parts.items()} == {
        "train": 240,
        "validation": 30,
        "test": 30,
    }
    for picture, caption in zip(source.parts["test"], source.captions["test"]):
        count, _, _, colour = caption.split()
        quadrants = picture.max(0).reshape(2, 8, 2, 8).max(axis=(1, 3))
        assert (quadrants > 0).sum() == COUNTS.index(count) + 1
        shown = picture.max(axis=(1, 2)) > 0
        assert tuple(shown.astype(int)) == COLOURS[colour]


def test_a_language_model_reads_the_caption_first_and_caches_it():
    torch.manual_seed(0)
    net = CausalTransformer(Spec((6,), vocab=5, caption=4), width=32, depth=2).eval()
    ids, y = torch.randint(5, (3, 6)), torch.randint(257, (3, 4))
    whole = net(ids, y)
    assert whole.shape == (3, 7, 5)
    cache = net.cache(3)
    steps = [net(ids[:, :0], y, cache)] + [net(ids[:, t : t + 1], y, cache) for t in range(5)]
    assert torch.allclose(torch.cat(steps, 1), whole[:, :6], atol=1e-5)
    assert not torch.allclose(net(ids, y.flip(0)), whole)


def test_a_denoiser_attends_to_the_caption():
    torch.manual_seed(0)
    net = UNet(Spec((3, 8, 8), quantum=0.1, caption=4), width=8, mults=(1, 2)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, t = torch.randn(2, 3, 8, 8), torch.rand(2)
    y = torch.tensor([[1, 2, 3, 4]]).expand(2, 4)
    swapped = torch.tensor([[4, 3, 2, 1]]).expand(2, 4)
    assert not torch.allclose(net(x, t, y), net(x, t, swapped), atol=1e-4)
    attention = net.middle[1]
    h, states = torch.randn(2, 16, 4, 4), torch.randn(2, 4, 32)
    assert not torch.allclose(attention(h, states), attention(h), atol=1e-4)
    # States that are equal give the caption's attention nothing to choose from: order is no matter.
    assert torch.allclose(attention(h, states), attention(h, states.flip(1)), atol=1e-5)


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, smoke) -> Run:
    words = ["dataset=captioned_digits", "dataset.n=1000", "budget.examples=128"]
    return load(smoke(f"model={request.param}", *words, "trainer.preview=4"))


def test_samples_from_a_caption_depend_on_seed_and_number_alone(run):
    some = run.sample(5, seed=3, y="two ones in blue", batch_size=2)
    assert decode(some.y) == ["two ones in blue"] * 5
    assert torch.equal(some.ids, run.sample(5, seed=3, y="two ones in blue").ids)
    other = run.sample(5, seed=3, y="four eights in yellow")
    assert not torch.equal(some.ids, other.ids)


def test_captions_that_are_not_given_are_drawn_from_the_training_data(run):
    drawn = decode(run.sample(64, seed=0).y)
    known = set(decode(torch.from_numpy(np.array(run.store.labels("train")))))
    assert set(drawn) <= known and len(set(drawn)) > 20


def test_a_caption_that_does_not_fit_is_one_line(run, aigc):
    code, _, err = aigc("sample", f"run={run.dir}", "y=a caption of many more bytes than any seen")
    assert code == 2 and "at most" in err and err.count("\n") == 1
    code, _, err = aigc("sample", f"run={run.dir}", "y=3")
    assert code == 2 and "this model takes captions: y=TEXT" in err


def test_a_class_may_be_given_by_name(smoke, aigc, tmp_path: Path):
    folder = smoke("model=vae", "modality=tabular", "study=names")
    code, _, _ = aigc("sample", f"run={folder}", "n=3", "y=benign", f"out={tmp_path}")
    assert code == 0 and (np.load(tmp_path / "ids.npz")["y"] == 1).all()
    code, _, err = aigc("sample", f"run={folder}", "y=benin")
    assert code == 2 and "choose from benign, malignant" in err and "did you mean" in err


def test_guidance_by_a_caption_moves_away_from_the_empty_one(smoke):
    words = ["dataset=captioned_digits", "dataset.n=1000", "budget.examples=128"]
    words += ["model.label_dropout=0.3", "trainer.preview=0"]
    for family, sampler in (("autoregressive", "guided"), ("diffusion", "ddim")):
        run = load(smoke(f"model={family}", *words))
        options = {"steps": 4} if family == "diffusion" else {}
        plain, guided = (
            run.sample(4, y="two ones in blue", sampler=run.sampler(sampler, guidance=g, **options))
            for g in (1.0, 50.0)
        )
        assert not torch.equal(plain.ids, guided.ids)
        again = run.sampler(sampler, guidance=50.0, **options)
        some = run.sample(4, y="two ones in blue", sampler=again, batch_size=3)
        assert torch.equal(some.ids, guided.ids)


def test_a_net_that_reads_labels_alone_is_refused(aigc):
    words = ["model=diffusion", "dataset=captioned_digits", "net/denoiser=dit", "budget=smoke"]
    code, _, err = aigc("train", *words)
    assert code == 2 and "DiT reads no captions" in err
