"""Likelihood and repetition of continuations by decoding strategy (Holtzman et al. 2020)."""

from math import log
from typing import Any

import matplotlib.pyplot as plt
import torch

import aigc
from aigc.analysis.figures import colour
from aigc.analysis.marks import bars
from aigc.metrics.language import repetition

STRATEGIES = ("greedy", "beam", "top_k", "top_p", "temperature")
EXAMPLES: dict[str, str] = {}


@torch.no_grad()
def measure(study: Any) -> dict[str, Any]:
    """Bits a byte under the model (prompts and continuations), and the share of 12-grams of
    characters that have stood in the same continuation before; a value a prompt."""
    run = aigc.load(study.runs["model"][0].dir.path)
    ids = run.store.examples("test", 48)[0]
    prompts, _ = run.codec.beginnings(ids)
    written = {"people": ids}
    for name in STRATEGIES:
        written[name] = run.sample(len(prompts), 0, None, name, 64, prompts).ids
    found: dict[str, Any] = {}
    for name, texts in written.items():
        nats = run.model.nats(run.model.view.encode(texts.to(run.device)), None)
        ends = run.codec.endings(texts)
        EXAMPLES[name] = ends[0]
        found[f"bits, {name}"] = (nats / texts.shape[1] / log(2)).tolist()
        found[f"repetition, {name}"] = repetition([list(text) for text in ends], 12)
    for name in STRATEGIES:
        pairs = zip(found[f"bits, {name}"], found["bits, people"])
        found[f"gap of bits, {name}"] = [abs(a - b) for a, b in pairs]
    return found


def draw(study: Any, found: dict[str, Any]) -> plt.Figure:
    """Both measures, and the beginning of a continuation by each."""
    fig, axes = plt.subplots(1, 3, figsize=(12, 2.4), layout="constrained", sharey=True)
    fig.get_layout_engine().set(w_pad=0.1)
    names = ("people", *STRATEGIES)
    titles = {"bits": "bits a byte under the model", "repetition": "share of repeated 12-grams"}
    for ax, (kind, title) in zip(axes, titles.items()):
        means = {n: [sum(v := found[f"{kind}, {n}"]) / len(v)] for n in names}
        bars(ax, means, ["#24292f"] + [colour("autoregressive")] * len(STRATEGIES))
        ax.set_title(title)
    axes[2].axis("off")
    axes[2].set_title("how each goes on from one prompt", loc="left")
    for i, name in enumerate(names):
        text = "".join(c if c.isprintable() else " " for c in EXAMPLES[name])[:56]
        look = {"family": "monospace", "fontsize": 7, "va": "center", "parse_math": False}
        axes[2].text(0, i, text, **look)
    return fig
