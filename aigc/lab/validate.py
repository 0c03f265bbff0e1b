"""What can be known to be wrong with a configuration before anything is loaded or written."""

import re
from functools import reduce

from hydra.utils import get_class

from aigc.core.errors import BadInput, unknown
from aigc.core.learned import LEARNED
from aigc.core.views import VIEWS
from aigc.data import augment
from aigc.data.datamodule import BALANCES
from aigc.data.datasets import all_datasets
from aigc.lab import build
from aigc.lab.budget import check_budget
from aigc.lab.check import Config, check, check_options
from aigc.lab.probe import kept_metric, wanted

# Numbers below these make no sense anywhere; what else a class refuses it says itself.
LEAST = {
    **{f"budget.{key}": 1 for key in ("examples", "batch_size", "samples")},
    **{f"budget.{key}": 1 for key in ("channels", "width", "hidden", "depth")},
    **{f"split.{key}": 0.001 for key in ("validation", "test")},
    **{f"modality.codec.{key}": 1 for key in ("size", "rate", "length", "context", "bins")},
    **{f"model.{key}": 1 for key in ("latent", "n_critic", "terms", "draws")},
    **{"trainer.log_points": 1, "trainer.validations": 0, "trainer.preview": 0},
    "trainer.parts": 1,
    **{"split.seed": 0, "split.block": 0, "seed": 0, "strategy.devices": 1, "strategy.nodes": 1},
}


def validate(config: Config) -> None:
    """Raise BadInput for the first thing that is wrong."""
    for path, low in LEAST.items():
        value = reduce(lambda node, key: node.get(key, {}), path.split("."), config)
        if isinstance(value, int | float) and value < low:
            raise BadInput(f"{path}={value}: at least {low}")
    check_budget(config)
    held_out = config["split"]["validation"] + config["split"]["test"]
    if held_out >= 1:
        raise BadInput(f"split.validation and split.test leave nothing to train on: {held_out:g}")
    if config["trainer"]["where"] not in (places := ("auto", "device", "workers")):
        raise unknown("trainer.where", config["trainer"]["where"], places)
    if config["trainer"]["oom"] not in (None, "halve"):
        raise unknown("trainer.oom", config["trainer"]["oom"], ["halve"])
    if not re.fullmatch(r"[\w][\w.-]*", str(config["study"])):
        raise BadInput(f"study={config['study']}: a plain folder name (letters, digits, . _ -)")
    facts = all_datasets()[config["dataset"]["name"]]
    if facts.modality != config["modality"]["name"]:
        raise BadInput(f"dataset '{facts.name}' is {facts.modality}: use modality={facts.modality}")
    check_options(config["dataset"], facts.load, "dataset")
    family = get_class(config["model"]["_target_"])
    _view(config, family.needs)
    wanted(config)
    kept = kept_metric(config["trainer"]["keep"])
    if config["trainer"]["patience"] is not None and not kept and "nats" not in family.provides:
        raise BadInput(
            f"trainer.patience: a {config['model']['name']} has no validation loss: "
            "say what to stop by, trainer.keep=best_fd"
        )
    for role in family.roles:
        check(config["net"][role], f"net.{role}")
    check(config["optimizer"], "optimizer")
    _training(config, family.needs)
    for name, node in config["logger"].items():
        if node:
            check(node, f"logger.{name}")
    build.sampler(config["sampler"], config["model"]["name"])


def _training(config: Config, needs: str) -> None:
    """What changes the training data or the order in which they come."""
    for one in build.augmentations(config):
        augment.check(one, config["modality"]["name"])
    if config["balance"] not in (None, *BALANCES):
        raise unknown("balance", config["balance"], BALANCES)
    if config["adversary"]:
        check(config["adversary"], "adversary")
        if config["model"]["name"] == "text_gan":
            raise BadInput("adversary: a text_gan's critic sees no perturbed data; leave it out")
        if config["trainer"]["compile"] and needs == "tokens":
            raise BadInput("adversary: it changes embeddings, which trainer.compile=true hides")


def _view(config: Config, needs: str) -> None:
    """A view of the kind that the family `needs`; a learned one has its run and no other has."""
    view, run = config["view"], config.get("run")
    if view not in VIEWS and view not in LEARNED:
        raise unknown("view", view, [*VIEWS, *LEARNED])
    on_tokens = ("tokens", "vq")
    if (view in on_tokens) != (needs == "tokens"):
        fits = [v for v in (*VIEWS, *LEARNED) if (v in on_tokens) == (needs == "tokens")]
        raise BadInput(
            f"view={view}: {config['model']['name']} needs {needs}: choose from {', '.join(fits)}"
        )
    if view in LEARNED and not run:
        raise BadInput(f"view={view} needs run=DIR, the folder of a finished first stage")
    if run and view not in LEARNED:
        raise BadInput(f"run={run}: a first stage is for view={' or view='.join(LEARNED)}")
