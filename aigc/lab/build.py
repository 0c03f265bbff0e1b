"""The composition root: the only place where configuration becomes objects."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from math import cos, pi
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate

from aigc.core.errors import BadInput, unknown
from aigc.core.learned import Codes, Latent
from aigc.core.spec import Space
from aigc.core.views import VIEWS, View
from aigc.data.augment import Augmentation
from aigc.data.store import Split, Store, prepare
from aigc.families.base import GenerativeModule
from aigc.lab.check import NOT_ARGUMENTS, TRUSTED, Config, check, takes
from aigc.lab.choices import samplers_of
from aigc.modalities.base import Codec

# Settings of a sampler that name a run, and what of its model the sampler gets.
RUNS = {"guide": lambda model: model, "draft": lambda model: model.net}


def plugins(config: Config) -> None:
    """Import the user's modules, which register what they define; the current folder counts. Runs
    may name their classes from then on."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in config.get("plugins") or []:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise BadInput(f"plugins: cannot import '{name}': {error}") from error
        TRUSTED.add(name.partition(".")[0])


def make(node: Config, where: str, **more: Any) -> Any:
    """Instantiate a `_target_` node; a wrong or ill-typed argument is named in one line."""
    check(node, where)
    if where in ("model", "sampler"):
        node = {key: value for key, value in node.items() if key not in NOT_ARGUMENTS}
    try:
        return instantiate(node, **more, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, BadInput):
            raise error.__cause__ from None
        raise


def check_sampler(node: Config, family: str) -> None:
    """Raise BadInput where a sampler is of another family."""
    if family not in node["families"]:
        raise BadInput(
            f"sampler '{node['name']}' does not sample a {family}: "
            f"choose from {', '.join(samplers_of(family))}"
        )


def codec(config: Config) -> Codec:
    """The codec of `config.modality`, not fitted."""
    return make(config["modality"]["codec"], "modality.codec")


def store(config: Config) -> Store:
    """The prepared data of `config.dataset` through the codec."""
    options = {k: v for k, v in config["dataset"].items() if k != "name"}
    settings = dict(config["modality"]["codec"])
    prepared = prepare(
        config["dataset"]["name"], codec(config), settings, options, Split(**config["split"])
    )
    return replace(prepared, labelled=config.get("labels") is not False)


def view(config: Config, space: Space, stage: GenerativeModule | None = None) -> View:
    """The view that the family sees; a learned one stands on a trained `stage`."""
    if config["view"] == "latent":
        return Latent(stage, stage.bank.mean.unflatten(1, stage.latent_shape), space)
    return Codes(stage, space) if config["view"] == "vq" else VIEWS[config["view"]](space)


def augmentations(config: Config) -> list[Augmentation]:
    """What changes training batches, in the order chosen; empty by default."""
    nodes = config["augment"] or {}
    return [make(node, f"augment.{name}") for name, node in nodes.items() if node]


def model(config: Config, space: Space, stage: GenerativeModule | None = None) -> GenerativeModule:
    """The family with its networks, view and optimizer; `space` has the number of classes,
    `stage` is what a learned view stands on."""
    family = get_class(config["model"]["_target_"])
    elsewhere = {"optim", "ema", "clip"}  # the trainer's; a family that trains by hand clips itself
    node = {k: v for k, v in config["model"].items() if k not in elsewhere or takes(family, k)}
    if config.get("adversary"):
        node["adversary"] = config["adversary"]
    for role in family.roles:
        target = get_class(config["net"][role]["_target_"])
        if space.caption and not getattr(target, "captions", True):
            raise BadInput(
                f"net/{role}: {target.__name__} reads no captions; use one of aigc's own"
            )
    nets = {role: make(config["net"][role], f"net.{role}") for role in family.roles}
    built = make(
        node,
        "model",
        view=view(config, space, stage),
        optimizer=make(config["optimizer"], "optimizer"),
        lr_at=lr_schedule(config),
        **nets,
    )
    return built


def blueprints(config: Config, model: GenerativeModule) -> dict[str, Any]:
    """Options of networks that came from elsewhere, with which a finished run builds them again."""
    origins = {get_class(config["net"][role]["_target_"]): role for role in type(model).roles}
    return {
        origins[type(net)]: net.blueprint()
        for net in model.children()
        if type(net) in origins and hasattr(net, "blueprint")
    }


def sampler(node: Config, family: str, load: Callable[[str], Any] | None = None) -> Any:
    """The sampling strategy, for a model of `family`.

    Where it names a run, it gets that run's model by `load`; without `load` it goes without.
    """
    check_sampler(node, family)
    named = {key: node[key] for key in RUNS if node.get(key)}
    held = {key: RUNS[key](load(folder).model) for key, folder in named.items()} if load else {}
    return make({k: v for k, v in node.items() if k not in named}, "sampler", **held)


def lr_schedule(config: Config, share: Callable[[], float] | None = None) -> Callable[[int], float]:
    """The factor of the learning rate at a step: a linear rise, then a cosine fall or a plateau.

    `share` says how much of the run is over where steps do not.
    """
    trainer, budget = config["trainer"], config["budget"]
    steps = -(-budget["examples"] // budget["batch_size"])
    if trainer["decay"] not in ("cosine", "constant"):
        raise unknown("trainer.decay", trainer["decay"], ["cosine", "constant"])

    def factor(step: int) -> float:
        done = share() if share else step / steps
        rise = min(1.0, (step + 1) / max(1.0, trainer["warmup"] * steps))
        fall = 1.0
        if trainer["decay"] == "cosine":
            fall = 0.02 + 0.98 * 0.5 * (1 + cos(pi * min(done, 1.0)))
        return rise * fall

    return factor
