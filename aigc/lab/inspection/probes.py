"""How much a straight line reads from what a network holds inside, for any family.

The network is not told the label, whether it was trained with it or not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aigc.analysis import anatomy
from aigc.analysis.inside import Part
from aigc.families.base import GenerativeModule
from aigc.lab.inspection.look import Look

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
KEPT = 64  # principal components of the data that the baseline reads


def probes(look: Look) -> Part | None:
    """Held-out accuracy of logistic regression on features of each layer."""
    fit, test = look.targets("train"), look.targets("test")
    fit_ids = look.run.store.examples("train", look.n)[0]
    if not fit or (spots := places(look.run.model)) is None:
        return None
    scores = {}
    for name, read in spots.items():
        a, b = look.over(read, fit_ids, None), look.over(read, look.ids, None)
        scores[name] = {k: logistic(a, fit[k], b, test[k])[0] for k in fit}
    a, b = (look.run.codec.features(ids) for ids in (fit_ids, look.ids))
    a, b = components(a, b)
    base = {k: logistic(a, fit[k], b, test[k])[0] for k in fit}
    most = {k: float((test[k] == np.bincount(fit[k]).argmax()).mean()) for k in fit}
    numbers = {"accuracy": scores, "data": base, "majority": most, "n_fit": len(fit_ids)}
    note = (
        "Accuracy on test examples of logistic regression, fitted on training examples, on "
        "activations averaged over positions; the network is not told the label. Dashed: the "
        f"same on {KEPT} principal components of the data themselves."
    )
    figures = {"probes": lambda: anatomy.probe_lines(scores, base, most)}
    return Part("Linear probes", note, numbers, figures)


def logistic(
    fit: Tensor, fit_y: Any, test: Tensor, test_y: Any, balanced: bool = False
) -> tuple[float, Tensor]:
    """Held-out accuracy (balanced over classes if asked), and the direction of a two-class probe in
    the space of `fit (N, d)`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    mean, sd = fit.mean(0), fit.std(0).clamp(min=1e-6)
    model = LogisticRegression(max_iter=300, class_weight="balanced" if balanced else None)
    model.fit(((fit - mean) / sd).numpy(), np.asarray(fit_y))
    found = model.predict(((test - mean) / sd).numpy())
    score = balanced_accuracy_score if balanced else accuracy_score
    return float(score(np.asarray(test_y), found)), torch.from_numpy(model.coef_[0]).float() / sd


def components(fit: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """The first principal components of the data."""
    mean = fit.mean(0)
    axes = torch.linalg.svd(fit - mean, full_matrices=False)[2][:KEPT].T
    return (fit - mean) @ axes, (test - mean) @ axes


def places(model: GenerativeModule) -> dict[str, Any] | None:
    """Where to read: functions `(x, y) -> (B, d)` by name, in the order of the data's way."""
    if "latents" in model.provides:
        return {"latents": lambda x, y: model.encode(x, y).flatten(1)}
    if hasattr(model, "critic") and hasattr(model, "scores"):
        head = [m for m in model.critic.modules() if isinstance(m, nn.Linear)]
        return {"critic": lambda x, y: _last_input(head, model.scores, x, y)} if head else None
    net = getattr(model, "net", None)
    if net is None:
        return None
    layers = longest(net)
    if hasattr(model, "schedule"):
        middle = getattr(net, "middle", getattr(net, "mid_block", None))
        spot = middle if middle is not None else layers[len(layers) // 2] if layers else None
        if spot is None:
            return None
        axis = -1 if middle is not None else 1
        return {f"t = {t}": _at(model, net, spot, t, axis) for t in TIMES}
    if not layers or model.needs != "tokens":
        return None
    if hasattr(model, "process"):
        spot = layers[len(layers) // 2]
        return {f"t = {t}": _corrupted(model, net, spot, t) for t in TIMES}
    null = getattr(model, "null", -1) if getattr(model, "label_dropout", 0) else None
    return {f"layer {i + 1}": _layer(net, layer, null) for i, layer in enumerate(layers)}


def longest(net: nn.Module) -> list[nn.Module]:
    """The longest list of layers in a network."""
    lists = [list(m) for m in net.modules() if isinstance(m, nn.ModuleList)]
    return max(lists, key=len, default=[])


def _layer(net: nn.Module, layer: nn.Module, null: int | None) -> Any:
    def read(x: Tensor, y: None) -> Tensor:
        label = None if null is None or null < 0 else x.new_full((len(x),), null)
        with captured(layer) as seen:
            net(x, label)
        return pooled(seen[0], 1)

    return read


def _at(model: GenerativeModule, net: nn.Module, layer: nn.Module, t: float, axis: int) -> Any:
    def read(x: Tensor, y: None) -> Tensor:
        time = x.new_full((len(x),), t)
        alpha, sigma = (a.view(-1, *[1] * (x.ndim - 1)).to(x) for a in model.schedule(time))
        with captured(layer) as seen:
            model.objective.denoise(net, alpha * x + sigma * torch.randn_like(x), time, None)
        return pooled(seen[0], axis)

    return read


def _corrupted(model: GenerativeModule, net: nn.Module, layer: nn.Module, t: float) -> Any:
    def read(x: Tensor, y: None) -> Tensor:
        time = torch.full((len(x),), t, device=x.device)
        u, v = torch.rand(2, *x.shape, device=x.device)
        with captured(layer) as seen:
            net(model.process.corrupt(x, time, u, v), time, None)
        return pooled(seen[0], 1)

    return read


def _last_input(layers: list[nn.Linear], run: Any, x: Tensor, y: None) -> Tensor:
    """What the last linear layer to be called is given."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for m in layers]
    try:
        run(x, y)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1]


@contextmanager
def captured(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a layer (of a list of them, the last one) gives while the net runs."""
    seen: list[Tensor] = []
    layer = layer[-1] if isinstance(layer, nn.ModuleList) else layer
    hook = layer.register_forward_hook(
        lambda *call: seen.append(call[2][0] if isinstance(call[2], tuple) else call[2])
    )
    try:
        yield seen
    finally:
        hook.remove()


def pooled(h: Tensor, axis: int) -> Tensor:
    """Activations averaged over positions: axis 1, or all axes behind the channels (-1)."""
    if h.ndim == 2:
        return h
    return h.mean(1) if axis == 1 else h.flatten(2).mean(2)
