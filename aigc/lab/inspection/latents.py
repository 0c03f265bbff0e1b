"""What lies in the latents of a VAE or a GAN."""

from math import log

import numpy as np
import torch
from torch import Tensor

from aigc.analysis import anatomy
from aigc.analysis.inside import Part
from aigc.families.latents import Walk
from aigc.lab.inspection.look import Look
from aigc.lab.inspection.probes import logistic
from aigc.lab.inspection.show import sheet
from aigc.lab.latents import directions
from aigc.metrics.disentangle import disentanglement, entropies, mutual_information

ACTIVE = 0.01  # Burda et al. 2016, section 5.2
ROWS, COUNT, SPAN = 10, 9, 3.0


def code(look: Look) -> Part | None:
    """How much the latents say, and which of them say anything."""
    if not look.has_code:
        return None
    model = look.run.model

    def cost(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, log_var = model.posterior(x, y)
        law = model.latents.law(model.posterior)
        drawn = model.latents.draw(mean, log_var, torch.randn_like(mean), law)
        return drawn.kl.sum(1), model.law.nats(x, model.decoded(drawn.z, y))

    rate, distortion = (float(a.mean()) for a in look.over(cost, look.ids, look.y))
    variance = look.code.var(0)
    active = variance > ACTIVE
    numbers = {
        "rate_nats": rate,
        "distortion_nats": distortion,
        "elbo_bits_per_dim": (rate + distortion) / look.run.codec.space.dims / log(2),
        "active_units": int(active.sum()),
        "latent_dims": len(variance),
        "beta": look.run.config["model"].get("beta"),
        "kl_nats": None if look.kl is None else look.kl.tolist(),
        "variance_of_code": variance.tolist(),
    }
    note = (
        "Rate is KL(q(z|x) || p(z)), distortion -log p(x|z) with one z an example: their sum is "
        "the negative ELBO. A unit is active where the variance over examples of the centre of "
        f"its posterior exceeds {ACTIVE}."
    )
    order = look.order()[:64]
    kind, height = ("variance", variance) if look.kl is None else ("KL (nats)", look.kl)
    bars = height[order].numpy(), active[order].numpy(), order, kind
    return Part("Rate and active units", note, numbers, {"units": lambda: anatomy.units(*bars)})


def traversal(look: Look) -> Part | None:
    """Samples along single directions of the latent space."""
    run = look.run
    if Walk not in run.model.samplers:
        return None
    along = directions(run.model)
    rows = min(ROWS, len(along))
    samples = run.sample(rows * COUNT, look.seed, edit="traverse", count=COUNT, span=SPAN)
    places = [f"{v:g}" for v in np.linspace(-SPAN, SPAN, COUNT)]
    if look.has_code:
        dims = along[:rows].argmax(1).tolist()
        names = [f"z{i}" + ("" if look.kl is None else f"  KL {look.kl[i]:.2f}") for i in dims]
        note = "One test example; each row moves one dimension from -3 to 3, in the order of KL."
    else:
        names = [f"direction {i}" for i in range(rows)]
        note = (
            "One sample; each row moves it along an eigenvector of the layers that read the "
            "latent, the strongest first (SeFa, Shen & Zhou 2021)."
        )
    figures, html = sheet(run.codec, samples.ids, names, places, "traversal")
    return Part("Traversal", note, {"rows": names, "span": SPAN}, figures, html)


def factors(look: Look) -> Part | None:
    """MIG, SAP and DCI of the latents against known factors."""
    known = {k: v for k, v in look.targets("test").items() if k != "label"}
    if not look.has_code or not known:
        return None
    values = np.stack(list(known.values()), 1)
    numbers = disentanglement(look.code.double().numpy(), values, look.seed)
    order = look.order()
    share = mutual_information(look.code[:, order].numpy(), values) / entropies(values)
    note = (
        "Centres of the posteriors against the factors that the pictures were made from. "
        "MIG: 20 bins of equal width; SAP: balanced accuracy of thresholds; DCI: random forests; "
        "all on the test split, fitted on one half of it and judged on the other."
    )
    names = [f"z{i}" for i in order], list(known)
    title = "share of the factor's entropy known"
    figures = {"factors": lambda: anatomy.heat(share, *names, title)}
    return Part("Disentanglement", note, numbers, figures)


def attributes(look: Look) -> Part | None:
    """Directions of the latent space that stand for a label."""
    labels = look.targets("test").get("label")
    if not look.has_code or labels is None:
        return None
    z = look.code
    names = look.run.store.meta["class_names"]
    half = len(z) // 2
    gaps, rows, numbers = [], [], {}
    for c in np.unique(labels):
        mine = torch.from_numpy(labels == c)
        if min(mine[:half].sum(), mine[half:].sum()) < 2:
            continue
        gap = z[mine].mean(0) - z[~mine].mean(0)
        score, weight = logistic(z[:half], mine[:half], z[half:], mine[half:], balanced=True)
        cosine = float(torch.cosine_similarity(gap, weight, dim=0))
        numbers[names[c]] = {"balanced_accuracy": score, "cosine_of_mean_and_logistic": cosine}
        gaps.append(gap)
        rows.append(f"{names[c]}  {score:.2f}")
    if not gaps:
        return None
    gaps, rows = torch.stack(gaps)[:ROWS], rows[:ROWS]
    samples = look.run.sample(
        len(gaps) * COUNT, look.seed, edit="traverse", count=COUNT, span=2.0,
        directions=gaps, reset=False,
    )  # fmt: skip
    places = [f"{v:g}" for v in np.linspace(-2, 2, COUNT)]
    figures, html = sheet(look.run.codec, samples.ids, rows, places, "attributes")
    told = "" if look.y is None else " The model is told the label: its latents need not hold it."
    note = (
        "One test example moved by multiples of the difference between the mean latents of a class "
        "and of the others. Beside the name: balanced accuracy of a logistic direction, fitted on "
        f"one half of the test examples and judged on the other; 0.5 is chance.{told}"
    )
    return Part("Attribute directions", note, numbers, figures, html)
