"""Starting from another run's weights."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from aigc.core.errors import BadInput
from aigc.lab.transfer import load_matching
from aigc.runs import RunDir

SHORT = ["budget.examples=64", "trainer.preview=0"]


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / "model.safetensors")


def test_what_matches_is_loaded_and_the_rest_is_left():
    source, target = (
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)),
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 6)),
    )
    before = target[1].weight.clone()
    assert load_matching(target, source.state_dict()) == {"0.weight", "0.bias"}
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[1].weight, before)


@pytest.mark.parametrize("family", ["autoregressive", "diffusion", "vae", "gan"])
def test_each_family_goes_on_from_another_run(smoke, capsys, family: str):
    source = smoke(f"model={family}", *SHORT, "study=sources")
    words = [f"model={family}", *SHORT, "dataset.limit=20", f"init={source}", "optimizer.lr=0"]
    words += ["model.ema=null", "trainer.keep=last"]
    folder = smoke(*words)
    assert folder.name != smoke(*[w for w in words if not w.startswith("init=")]).name
    facts = RunDir(folder).status["init"]
    total = RunDir(folder).status["parameters"]
    assert facts["run"] == source.name and facts["loaded"] == total and facts["skipped"] == 0
    old, new = weights(source), weights(folder)
    names = [n for n in old if "." in n and "bank" not in n and old[n].is_floating_point()]
    assert all(torch.equal(old[name], new[name]) for name in names)  # at a rate of zero
    assert f"of {total:,} parameters from {source.name}" in capsys.readouterr().err


def test_frozen_parameters_stay_and_others_move(smoke):
    source = smoke("model=vae", *SHORT, "study=sources")
    words = [f"init={source}", "init_freeze=[encoder.*]", "modality.codec.levels=9"]
    folder = smoke("model=vae", *SHORT, *words)
    old, new = weights(source), weights(folder)
    encoder = [n for n in old if n.startswith("encoder.")]
    assert all(torch.equal(old[n], new[n]) for n in encoder)
    decoder = [n for n in old if n.startswith("decoder.") and old[n].shape == new[n].shape]
    assert any(not torch.equal(old[n], new[n]) for n in decoder)
    status = RunDir(folder).status
    assert status["init"]["frozen"] == sum(old[n].numel() for n in encoder)
    assert status["trained_parameters"] == status["parameters"] - status["init"]["frozen"]


def test_mistakes_are_one_line(smoke, tmp_path):
    source = smoke("model=vae", *SHORT, "study=sources")
    with pytest.raises(BadInput, match="nothing to keep without init"):
        smoke("model=vae", *SHORT, "init_freeze=[a]")
    with pytest.raises(BadInput, match=r"no parameter there has a name and shape"):
        smoke("model=autoregressive", *SHORT, f"init={source}")
    with pytest.raises(BadInput, match=r"'encodr.\*' is no parameter, such as encoder"):
        smoke("model=vae", *SHORT, f"init={source}", "init_freeze=[encodr.*]")
    with pytest.raises(ValueError, match="not a run folder"):
        smoke("model=vae", *SHORT, f"init={tmp_path}")
