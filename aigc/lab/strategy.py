"""How a run is spread over processes: Lightning's strategies, and what each is not for."""

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from aigc.core.errors import BadInput, unknown
from aigc.families.base import GenerativeModule
from aigc.lab.checkpoint import AtomicIO

STRATEGIES = ("auto", "ddp", "ddp_cpu", "ddp_static", "fsdp", "fsdp_cpu", "deepspeed")


def is_sharded(config: dict[str, Any]) -> bool:
    """Whether the weights of a run lie in parts on its processes."""
    return config["strategy"]["name"] in ("fsdp", "fsdp_cpu")


def on_cpu(config: dict[str, Any]) -> bool:
    """Whether a strategy is for processes without devices of their own."""
    return config["strategy"]["name"] in ("ddp_cpu", "fsdp_cpu")


def strategy(name: str, model: GenerativeModule) -> Any:
    """Lightning's strategy; one that trains by hand leaves parameters unused in each backward
    pass."""
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if name == "auto":
        return "auto"
    settings = {
        "process_group_backend": "gloo" if name.endswith("_cpu") else None,
        "timeout": timedelta(seconds=float(os.environ.get("AIGC_DDP_TIMEOUT", 600))),
    }
    if name == "deepspeed":
        from lightning.pytorch.strategies import DeepSpeedStrategy

        return DeepSpeedStrategy(stage=2, timeout=settings["timeout"])
    if name.startswith("fsdp"):
        from aigc.lab.sharding import Sharded

        return Sharded(**settings)
    from lightning.pytorch.strategies import DDPStrategy

    by_hand = not model.automatic_optimization
    if name == "ddp_static" and by_hand:
        raise BadInput(
            f"strategy=ddp_static: a {model.name} trains by hand, each network in a pass of its "
            "own; use strategy=ddp"
        )
    static = {"static_graph": True} if name == "ddp_static" else {}
    return DDPStrategy(find_unused_parameters=by_hand, **static, **settings)


def check_deepspeed(model: GenerativeModule, config: dict[str, Any]) -> None:
    """Raise BadInput where DeepSpeed is not there, or for what it cannot do with a run: it splits
    moments and gradients itself (ZeRO stage 2) and writes states that only it reads, with code in
    them."""
    if find_spec("deepspeed") is None:
        raise BadInput(
            "strategy=deepspeed needs deepspeed: pip install deepspeed; or strategy=fsdp"
        )
    wrong = {
        f"a {config['model']['name']} trains by hand": not model.automatic_optimization,
        "model.ema=null, as it holds the weights": config["model"]["ema"] is not None,
        "trainer.keep=last, as no states are written": config["trainer"]["keep"] != "last",
    }
    if why := [text for text, is_so in wrong.items() if is_so]:
        raise BadInput(f"strategy=deepspeed: {why[0]}; or strategy=fsdp")


def sharded_callbacks(model: GenerativeModule, config: dict[str, Any]) -> list[L.Callback]:
    """What a run in parts needs besides; BadInput for a model that cannot be trained so."""
    from aigc.lab.sharding import SameBuffers, ShardedEMA, check_sharded

    check_sharded(model, config)
    average = [ShardedEMA(config["model"]["ema"])] if config["model"]["ema"] else []
    return [*average, SameBuffers()]


def gathered(model: GenerativeModule) -> dict[str, Tensor]:
    """The weights of a model in parts, whole on rank zero and nothing elsewhere; all ranks call
    it."""
    from aigc.lab.sharding import whole_weights

    return whole_weights(model)


def weights_in(path: Path) -> dict[str, Tensor]:
    """The weights of a state that one process wrote, or several; raises Damaged."""
    if not path.is_dir():
        return AtomicIO().load_checkpoint(path, "cpu")["state_dict"]
    from aigc.lab.sharding import whole

    return whole(path)["state_dict"]
