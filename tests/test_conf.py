"""Every configuration file composes, and says what the code says."""

from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class

from aigc.core.errors import BadInput
from aigc.data.datasets import all_datasets
from aigc.lab import build
from aigc.lab.check import check
from aigc.lab.choices import conf_dir, samplers_of
from aigc.lab.conf import compose
from aigc.lab.validate import validate

FAMILIES = (
    "autoregressive",
    "diffusion",
    "masked_diffusion",
    "uniform_diffusion",
    "vae",
    "vqvae",
    "gan",
    "text_gan",
    "text_vae",
)
ON_TOKENS = ("autoregressive", "masked_diffusion", "uniform_diffusion", "text_gan", "text_vae")
MODALITIES = ("text", "image", "audio", "tabular")
CONF = conf_dir()


def options(group: str) -> list[str]:
    return sorted(f.stem for f in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(("family", "modality"), product(FAMILIES, MODALITIES))
def test_all_cells_compose(family: str, modality: str):
    config = compose("train", [f"model={family}", f"modality={modality}"])
    validate(config)
    assert (config["view"] == "tokens") == (family in ON_TOKENS)
    assert config["sampler"]["name"] in samplers_of(family)


@pytest.mark.parametrize("name", options("dataset"))
def test_each_data_set_is_registered(name: str):
    facts = all_datasets()[name]
    config = compose("train", [f"modality={facts.modality}", f"dataset={name}"])
    assert config["dataset"]["name"] == name
    validate(config)
    build.codec(config)


def test_each_registered_data_set_has_a_configuration():
    assert {facts.name for facts in all_datasets().values()} == set(options("dataset"))


@pytest.mark.parametrize("name", options("sampler"))
def test_each_sampler_builds_for_each_of_its_families(name: str):
    node = yaml.safe_load((CONF / "sampler" / f"{name}.yaml").read_text())
    assert node["name"] == name
    for family in node["families"]:
        config = compose("train", [f"model={family}", f"sampler={name}"])
        assert isinstance(build.sampler(config["sampler"], family), object)
    for other in set(FAMILIES) - set(node["families"]):
        config = compose("train", [f"model={node['families'][0]}", f"sampler={name}"])
        with pytest.raises(BadInput, match=f"does not sample a {other}"):
            build.sampler(config["sampler"], other)


@pytest.mark.parametrize("name", options("experiment"))
def test_each_experiment_composes_and_is_described(name: str):
    validate(compose("train", [f"experiment={name}"]))
    assert (Path(CONF).parent / "experiments" / name / "README.md").is_file()


@pytest.mark.parametrize(
    "group",
    "budget optimizer trainer strategy logger adversary hydra/launcher hydra/sweeper".split(),
)
def test_each_option_of_the_other_groups_composes(group: str):
    for name in options(group):
        validate(compose("train", [f"{group}={name}"]))


@pytest.mark.parametrize("role", ["causal_lm", "denoiser", "token_denoiser", "encoder", "decoder"])
def test_each_network_passes_its_check(role: str):
    for name in options(f"net/{role}"):
        config = compose("train", [f"net/{role}={name}"])
        check(config["net"][role], f"net.{role}")


def test_a_later_choice_beats_what_a_data_set_implies():
    assert compose("train", [])["modality"]["codec"]["levels"] == 17
    words = ["modality.codec.levels=256", "dataset=mnist"]
    assert compose("train", words)["modality"]["codec"]["levels"] == 256


@pytest.mark.parametrize("name", options("augment"))
def test_each_augmentation_composes_for_its_modality_alone(name: str):
    target = yaml.safe_load((CONF / "augment" / f"{name}.yaml").read_text())[name]["_target_"]
    (own,) = get_class(target).modalities
    validate(compose("train", [f"modality={own}", f"augment={name}"]))
    other = next(m for m in MODALITIES if m != own)
    with pytest.raises(BadInput, match=f"for {own}, not {other}"):
        validate(compose("train", [f"modality={other}", f"augment={name}"]))
