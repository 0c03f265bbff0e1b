"""The bound by the number of latents, and the plane of two of them (Kingma & Welling 2014)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import norm
from torchvision.utils import make_grid

from aigc.analysis.figures import colour
from aigc.analysis.marks import line

SIDE = 12


def measure(study: Any) -> dict[str, list[float]]:
    """Nats of a validation digit, a value a seed."""
    found = {}
    for latents, records in study.runs.items():
        dims = np.prod(records[0].dir.status["space"]["shape"])
        found[f"nats, {latents} latents"] = [
            float(record.log()["val/loss"][-1][2] * dims) for record in records
        ]
    pairs = zip(found["nats, 32 latents"], found["nats, 8 latents"])
    return found | {"nats, 32 latents less 8": [wide - narrow for wide, narrow in pairs]}


@torch.no_grad()
def plane(record: Any) -> np.ndarray:
    """Decoded quantiles of the prior, tiles with a border of a pixel, greys from 0 to 16."""
    import aigc

    run = aigc.load(record.dir.path)
    ticks = torch.tensor(norm.ppf(np.linspace(0.02, 0.98, SIDE)), dtype=torch.float)
    z = torch.cartesian_prod(ticks, ticks).to(run.device)
    ids = run.model.view.decode(run.model.decode(z))
    return make_grid(ids, nrow=SIDE, padding=1, pad_value=6)[0].numpy()


def draw(study: Any, found: dict[str, list[float]]) -> plt.Figure:
    """Nats against latents; the plane of seed 0."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), layout="constrained")
    sizes = [int(latents) for latents in study.runs]
    line(left, sizes, [found[f"nats, {n} latents"] for n in sizes], color=colour("vae"))
    left.set(xscale="log", xlabel="latents", ylabel="nats of a validation digit (bound)")
    left.set_xticks(sizes, [str(n) for n in sizes])
    left.minorticks_off()
    right.imshow(plane(study.runs["2"][0]), cmap="gray")
    right.set(xticks=[], yticks=[], title="two latents, quantiles of the prior")
    return fig
