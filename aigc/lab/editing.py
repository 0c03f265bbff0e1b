"""Edits for `run.sample(..., edit=...)`: where they begin, and what of it is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aigc.core.arrays import read_arrays
from aigc.core.errors import BadInput
from aigc.core.rng import Rng
from aigc.core.views import View
from aigc.lab import build
from aigc.lab.latents import directions

if TYPE_CHECKING:
    from aigc.lab.run import Run


def edited(
    run: "Run",
    edit: str | Mapping[str, Any],
    options: Mapping[str, Any],
    strategy: Any,
    n: int,
    y: int | Tensor | None,
    seed: int = 0,
) -> tuple[Any, int | Tensor | None]:
    """What samples in the place of the strategy, and labels: those of the examples unless `y`
    gives them.

    Options are those of conf/edit; in Python `source` may also be ids `(N, *shape)` and `mask`
    a boolean tensor like it instead of `keep`, and `traverse` takes `directions (D, L)`.
    """
    node = {**(run.edit_node(edit) if isinstance(edit, str) else edit), **options}
    name, family, families = node.pop("name"), run.config["model"]["name"], node.pop("families")
    if family not in families:
        raise BadInput(f"edit '{name}' does not work on a {family}")
    start = {"vae": _encoded, "gan": _drawn}.get(family, _given)
    more, labels = start(run, node, strategy, n, y, seed)
    if y is None and labels is not None:
        index = torch.arange(n)
        if name == "traverse":
            index = torch.zeros_like(index)
        elif "count" in node:  # of the nearer end
            index = (index + node["count"] // 2) // node["count"]
        y = labels[index % len(labels)]
    # In two steps: instantiate would turn the strategy, a dataclass, into a configuration.
    return build.make({**node, "_target_": families[family], "_partial_": True}, "edit")(**more), y


def _given(run: "Run", node: dict[str, Any], strategy: Any, n: int, *_: Any) -> tuple:
    """A diffusion begins from examples as floats, and wraps a sampler."""
    ids, labels = examples(run, node.pop("source"), n)
    view, more = run.model.view, {"inner": strategy, "known": run.model.view.encode(ids)}
    if "keep" in node:
        mask, keep = node.pop("mask", None), node.pop("keep")
        mask = kept(ids, keep) if mask is None else mask
        more["mask"] = float_mask(view, mask, run.codec.space.levels)
    return more, labels


def _encoded(run: "Run", node: dict[str, Any], strategy: Any, n: int, *_: Any) -> tuple:
    """A VAE begins from the latents of examples."""
    ids, labels = examples(run, node.pop("source"), n)
    model = run.model
    y = None if labels is None else labels.to(model.device)
    with torch.no_grad():
        z = model.encode(model.view.encode(ids.to(model.device)), y).flatten(1)
    return _walk(run, node, z), labels


def _drawn(
    run: "Run", node: dict[str, Any], strategy: Any, n: int, y: int | Tensor | None, seed: int
) -> tuple:
    """A GAN begins from its own draws: the ends are the samples 0, 1 ... of the same seed."""
    node.pop("source")
    ends = 1 if "span" in node else n // node["count"] + 2
    z = strategy.z(run.model.latent, Rng(seed, torch.arange(ends, device=run.model.device)))
    return _walk(run, node, z), run.model.sample(ends, y, seed, strategy)[1]


def _walk(run: "Run", node: dict[str, Any], known: Tensor) -> dict[str, Tensor]:
    """The known latents, and for a traversal its directions."""
    if "span" not in node:
        return {"known": known}
    dims, along = node.pop("dims", None), node.pop("directions", None)
    along = directions(run.model) if along is None else along
    if dims is not None:
        if not dims or min(dims) < 0 or max(dims) >= len(along):
            raise BadInput(f"edit.dims={dims}: some of 0 to {len(along) - 1}")
        along = along[dims]
    node.setdefault("reset", "latents" in run.model.provides)
    return {"known": known[:1], "directions": along}


def examples(run: "Run", source: str | Tensor, n: int) -> tuple[Tensor, Tensor | None]:
    """At most `n` examples of a split, of a file that `aigc sample` wrote, or as they are."""
    if isinstance(source, Tensor):
        return source, None
    if source in ("train", "validation", "test"):
        return run.store.examples(source, n)
    if not Path(source).is_file():
        raise BadInput(f"edit.source={source}: train, validation, test or an ids.npz")
    file = read_arrays(source)
    if "ids" not in file:
        raise BadInput(f"edit.source={source} holds no ids")
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
