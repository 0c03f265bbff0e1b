"""Edits for `run.sample(..., edit=...)`: where the given examples come from, and what of them is
kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.views import View
from aigc.lab import build

if TYPE_CHECKING:
    from aigc.lab.run import Run


def edited(
    run: "Run",
    edit: str | Mapping[str, Any],
    options: Mapping[str, Any],
    strategy: Any,
    n: int,
    y: int | Tensor | None,
) -> tuple[Any, int | Tensor | None]:
    """The strategy wrapped by an edit, and labels: those of the examples unless `y` gives them.

    Options are those of conf/edit; in Python `source` may also be ids `(N, *shape)` and `mask`
    a boolean tensor like it instead of `keep`.
    """
    node = {**(run.edit_node(edit) if isinstance(edit, str) else edit), **options}
    family = run.config["model"]["name"]
    if family not in node["families"]:
        raise BadInput(f"edit '{node['name']}' does not work on a {family}")
    ids, labels = examples(run, node.pop("source"), n)
    view, more = run.model.view, {"known": run.model.view.encode(ids)}
    if node["name"] == "inpaint":
        mask, keep = node.pop("mask", None), node.pop("keep")
        mask = kept(ids, keep) if mask is None else mask
        more["mask"] = float_mask(view, mask, run.codec.space.levels)
    if y is None and labels is not None:
        index = torch.arange(n)
        if "count" in node:  # of the nearer end
            index = (index + node["count"] // 2) // node["count"]
        y = labels[index % len(labels)]
    facts = {k: v for k, v in node.items() if k not in ("name", "families")}
    # In two steps: instantiate would turn the strategy, a dataclass, into a configuration.
    return build.make({**facts, "_partial_": True}, "edit")(inner=strategy, **more), y


def examples(run: "Run", source: str | Tensor, n: int) -> tuple[Tensor, Tensor | None]:
    """At most `n` examples of a split, of a file that `aigc sample` wrote, or as they are."""
    if isinstance(source, Tensor):
        return source, None
    if source in ("train", "validation", "test"):
        return run.store.examples(source, n)
    if not Path(source).is_file():
        raise BadInput(f"edit.source={source}: train, validation, test or an ids.npz")
    file = np.load(source)
    y = torch.from_numpy(file["y"][:n].astype("int64")) if "y" in file else None
    return torch.from_numpy(file["ids"][:n].astype("int64")), y


def kept(ids: Tensor, keep: float) -> Tensor:
    """True on the first part of the last axis."""
    if not 0 <= keep <= 1:
        raise BadInput(f"edit.keep={keep}: between 0 and 1")
    length = ids.shape[-1]
    return (torch.arange(length) < round(keep * length)).expand(ids.shape)


def float_mask(view: View, mask: Tensor, levels: int | tuple[int, ...]) -> Tensor:
    """Which floats of any view belong to the ids under `mask (N, *shape)`: those that change with
    them."""
    top = torch.as_tensor(levels) - 1
    base = view.encode(torch.zeros_like(mask, dtype=torch.int64))
    out = torch.zeros_like(base, dtype=torch.bool)
    for bit in range(int(top.max()).bit_length()):
        out |= view.encode(torch.where(mask, top.clamp(max=2**bit), 0)) != base
    return out
