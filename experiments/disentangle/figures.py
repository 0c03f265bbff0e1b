"""How untangled latents are by objective and seed, on shapes with known factors."""

import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.image import imread

from aigc.analysis.figures import colour
from aigc.analysis.marks import bars

KINDS = {"rate": ("code", "rate_nats"), "MIG": ("factors", "mig"), "SAP": ("factors", "sap")}
KINDS["DCI"] = "factors", "dci_disentanglement"
WEIGHTED = ("beta 4", "beta 8", "total correlation")


def parts(record: Any) -> dict[str, Any]:
    """What `aigc inspect` finds in a run, once."""
    import aigc

    file = record.dir / "inspect" / "inspect.json"
    if not file.exists():
        aigc.inspect(aigc.load(record.dir.path), "what=[code,factors,traversal]")
    return json.loads(file.read_text())["parts"]


def measure(study: Any) -> dict[str, Any]:
    """`<score>, <objective>`: a value a seed."""
    found: dict[str, Any] = {}
    for name, records in study.runs.items():
        inside = [parts(record) for record in records]
        for kind, (part, key) in KINDS.items():
            found[f"{kind}, {name}"] = [p[part][key] for p in inside]
    table = np.array([found[f"MIG, {name}"] for name in WEIGHTED])  # objectives x seeds
    found["variance over seeds"] = float(table.var(1).mean())
    found["variance over objectives"] = float(table.mean(1).var())
    return found


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """A panel a score; traversals of the latents of seed 0 at beta 1 and beta 8."""
    fig = plt.figure(figsize=(11, 6), layout="constrained")
    upper, lower = fig.subfigures(2, 1, height_ratios=[1, 2.2])
    shared = upper.subplots(1, len(KINDS), sharey=True)
    for ax, kind in zip(shared, KINDS):
        bars(ax, {n: found[f"{kind}, {n}"] for n in study.runs}, colour("vae"))
        ax.set_title({"rate": "rate (nats)", "DCI": "DCI disentanglement"}.get(kind, kind))
    for ax, name in zip(lower.subplots(1, 2), ("beta 1", "beta 8")):
        ax.imshow(imread(study.runs[name][0].dir / "inspect" / "traversal.png"))
        ax.set_title(f"{name}: each latent from -3 to 3")
        ax.axis("off")
    return fig
