"""`aigc train init=DIR`: begin from the weights of another run, where names and shapes match."""

from fnmatch import fnmatch
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.runs import RunDir


def start_from(model: nn.Module, init: str | None, freeze: list[str]) -> dict[str, Any] | None:
    """Load what fits of the run at `init` into `model` and freeze parameters whose names match a
    pattern of `freeze`; how many numbers were loaded, skipped and frozen, or None without `init`.

    Buffers that a family keeps of its data (label frequencies, a bank of latents) are not taken.
    """
    if init is None:
        if freeze:
            raise BadInput("init_freeze: nothing to keep without init=DIR")
        return None
    source = RunDir.finished(init)
    loaded = load_matching(model, load_file(source / "checkpoints" / "model.safetensors"))
    if not loaded:
        raise BadInput(f"init={init}: no parameter there has a name and shape of this model's")
    own = dict(model.named_parameters())
    frozen = {name for name in own if any(fnmatch(name, pattern) for pattern in freeze)}
    if idle := [p for p in freeze if not any(fnmatch(name, p) for name in own)]:
        raise BadInput(f"init_freeze: '{idle[0]}' is no parameter, such as {next(iter(own))}")
    for name in frozen:
        own[name].requires_grad_(False)
    facts = {
        "run": source.path.name,
        "loaded": sum(own[name].numel() for name in own if name in loaded),
        "skipped": sum(own[name].numel() for name in own if name not in loaded),
        "frozen": sum(own[name].numel() for name in frozen),
        "skipped_names": [name for name in own if name not in loaded],
    }
    return facts


def told(facts: dict[str, Any]) -> str:
    """The same in a line."""
    total = facts["loaded"] + facts["skipped"]
    line = f"init: {facts['loaded']:,} of {total:,} parameters from {facts['run']}"
    return f"{line}, {facts['frozen']:,} frozen"


@torch.no_grad()
def load_matching(model: nn.Module, weights: dict[str, Tensor]) -> set[str]:
    """Copy into `model` the tensors of `weights` with the name and shape of a parameter, or of a
    network's buffer; their names."""
    own = dict(model.named_parameters())
    own |= {name: b for name, b in model.named_buffers() if "." in name}
    same = {n for n, tensor in weights.items() if n in own and own[n].shape == tensor.shape}
    for name in same:
        own[name].copy_(weights[name])
    return same
