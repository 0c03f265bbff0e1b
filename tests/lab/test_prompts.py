"""Prompts, streams, words and drafts of a run, in Python and on the command line."""

import numpy as np
import pytest
import torch

import aigc as package
from aigc.core.errors import BadInput

TEXT = ["model=autoregressive", "modality=text", "trainer.preview=8"]


@pytest.fixture(scope="module")
def folder(smoke) -> str:
    return str(smoke(*TEXT))


def test_a_run_goes_on_from_a_prompt(aigc, folder: str, tmp_path):
    run = package.load(folder)
    texts = run.sample(3, seed=1, prompt="The list ").data
    assert len(set(texts)) == 3 and all(t.startswith("The list ") for t in texts)
    mixed = run.sample(2, seed=1, prompt=["The list ", "for"]).data
    assert mixed[0] == texts[0] and mixed[1].startswith("for")  # alone or not, the same
    words = [f"run={folder}", "n=3", "seed=1", f"out={tmp_path}", "prompt='The list '"]
    code, _, err = aigc("sample", *words, "stream=true")
    assert code == 0
    ids = torch.from_numpy(np.load(tmp_path / "ids.npz")["ids"])
    assert run.codec.decode(ids) == texts
    assert err.strip().startswith("The list")
    assert "".join(run.stream("The list ", seed=1)).rstrip("\ufffd") == texts[0].rstrip("\ufffd")
    with pytest.raises(BadInput, match="3 prompts for 2 samples"):
        run.sample(2, prompt=["a", "b", "c"])


def test_a_picture_goes_on_from_its_first_rows(smoke):
    run = package.load(smoke("model=autoregressive", "modality=image", "trainer.preview=8"))
    top = torch.from_numpy(run.store.ids("test")[:5, 0, :4].astype("int64")).flatten(1)
    pictures = run.sample(5, y=3, prompt=top).ids
    assert torch.equal(pictures[:, 0, :4].flatten(1), top)
    with pytest.raises(BadInput, match="does not begin with words"):
        run.sample(1, prompt="a three")


def test_words_stand_in_every_sample(aigc, folder: str, tmp_path):
    run = package.load(folder)
    words = [f"run={folder}", "n=1", f"out={tmp_path}", "sampler=constrained"]
    code, _, err = aigc("sample", *words, "sampler.words=[king,sea]", "sampler.beams=2")
    text = (tmp_path / "samples.txt").read_text(errors="replace")
    assert code == 0 and "king" in text and "sea" in text, err
    strategy = run.sampler("constrained", words=["list", "for"], beams=2)
    assert all("list" in t and "for" in t for t in run.sample(2, sampler=strategy).data)


def test_a_run_is_the_draft_of_another(aigc, folder: str, smoke, tmp_path):
    small = smoke(*TEXT, "budget.width=16")
    words = [f"run={folder}", "n=4", f"out={tmp_path}", "sampler=speculative"]
    code, _, _ = aigc("sample", *words, f"sampler.draft={small}")
    assert code == 0
    one = np.load(tmp_path / "ids.npz")["ids"]
    run = package.load(folder)
    again = run.sample(4, sampler=run.sampler("speculative", draft=str(small), ahead=7)).ids
    assert np.array_equal(one, again.numpy())
    code, _, err = aigc("sample", *words)
    assert code == 2 and "needs sampler.draft=RUN" in err


def test_other_families_take_no_prompt(aigc, smoke):
    vae = smoke("model=vae", "study=untouched", "trainer.preview=8")
    code, _, err = aigc("sample", f"run={vae}", "prompt=hello")
    assert code == 2 and "does not begin with words" in err
    with pytest.raises(BadInput, match="a vae does not go on from a prompt"):
        package.load(vae).sample(1, prompt=torch.zeros(2))
