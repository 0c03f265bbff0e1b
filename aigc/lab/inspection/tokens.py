"""What a next-token model finds surprising, and where transformers look."""

from html import escape
from math import log

import torch
from torch import Tensor

from aigc.analysis import anatomy
from aigc.analysis.inside import Part
from aigc.core.views import Tokens
from aigc.families.autoregressive.objective import mask_logits
from aigc.lab.inspection.look import Look
from aigc.modalities.base import Codec

SHOWN = 6  # examples on the page
LONGEST = 512  # positions of an attention map


def surprisal(look: Look) -> Part | None:
    """Bits of each token given those before it, beside the entropy that was predicted."""
    model = look.run.model
    if model.likelihood != "exact" or not hasattr(model, "net"):
        return None

    def read(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        log_p = mask_logits(model.net(x[:, :-1], y), model.allowed).float().log_softmax(-1)
        entropy = -(log_p.exp() * log_p.clamp(min=-100)).sum(-1)
        return -log_p.gather(2, x[..., None])[..., 0] / log(2), entropy / log(2)

    bits, entropy = look.over(read, look.ids, look.y)
    by_place = bits.mean(0)
    numbers = {
        "bits_per_token": float(bits.mean()),
        "entropy_per_token": float(entropy.mean()),
        "bits_by_position": by_place.tolist() if len(by_place) <= 128 else None,
    }
    note = (
        "Surprisal is -log2 p of the token that came, entropy its mean under the model: where the "
        "model knows what it does not know, both are equal on average. Prompts are counted too."
    )
    part = Part("Surprisal", note, numbers)
    codec = look.run.codec
    if not isinstance(model.view, Tokens):
        part.figures = {"surprisal": lambda: anatomy.by_position(by_place.numpy())}
    elif codec.modality == "text":
        part.html = "".join(coloured(codec, *row) for row in zip(look.ids[:SHOWN], bits, entropy))
        part.figures = {"surprisal": lambda: anatomy.by_position(by_place.numpy())}
    elif codec.modality == "image":
        maps = model.view.decode(bits[:SHOWN]).sum(1).numpy()
        pictures = codec.pictures(look.ids[:SHOWN])
        part.figures = {"surprisal": lambda: anatomy.surprisal_maps(pictures, maps)}
    elif codec.modality == "tabular":
        names = [str(c["name"]) for c in codec.columns]
        part.figures = {"surprisal": lambda: anatomy.bars(by_place.numpy(), names, "bits")}
    else:
        waves = codec.waves(look.ids[:3]).numpy()
        part.figures = {"surprisal": lambda: anatomy.waves(waves, bits[:3].numpy())}
    return part


def coloured(codec: Codec, ids: Tensor, bits: Tensor, entropy: Tensor) -> str:
    """A text with each token on a ground as strong as its surprisal."""
    out = []
    for piece, b, h in zip(codec.pieces(ids), bits.tolist(), entropy.tolist()):
        ground = f"background: rgba(213, 94, 0, {min(b / 8, 1) * 0.75:.2f})"
        shown = escape(piece).replace("\n", "⏎\n")
        out.append(f'<span style="{ground}" title="{b:.1f} bits, entropy {h:.1f}">{shown}</span>')
    return f"<pre>{''.join(out)}</pre>"


def attention(look: Look) -> Part | None:
    """Where each layer of a transformer looks, for one test example."""
    model = look.run.model
    net = getattr(model, "net", None)
    layers = [m for m in net.modules() if hasattr(m, "weights")] if net is not None else []
    if not layers or model.view.spec.vocab == 0 or model.view.spec.shape[0] > LONGEST:
        return None
    seen: list[Tensor] = []

    def note_weights(layer: torch.nn.Module, given: tuple) -> None:
        seen.append(layer.weights(given[0]).float().cpu())

    hooks = [layer.register_forward_pre_hook(note_weights) for layer in layers]
    some, y = look.ids[:16], None if look.y is None else look.y[:16]
    try:
        look.over(lambda x, y: _once(model, x, y), some, y)
    finally:
        for hook in hooks:
            hook.remove()
    place = torch.arange(seen[0].shape[-1]).float()
    apart = (place[:, None] - place).abs()
    distance = [(w * apart).sum(-1).mean((0, 2)).tolist() for w in seen]
    numbers = {"mean_distance_by_layer_and_head": distance}
    note = (
        "Weights from each position (down) to those it reads (across), for the first test example, "
        "averaged over heads. The mean distance in positions is over 16 examples."
    )
    maps = [w[0].mean(0).numpy() for w in seen]
    titles = [f"layer {i + 1}: {sum(d) / len(d):.1f} away" for i, d in enumerate(distance)]
    return Part("Attention", note, numbers, {"attention": lambda: anatomy.maps(maps, titles)})


def _once(model: torch.nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
    """One pass of the network over tokens; a token denoiser sees them half corrupted."""
    if not hasattr(model, "process"):
        return model.net(x[:, :-1], y)[:, 0]
    time = torch.full((len(x),), 0.5, device=x.device)
    u, v = torch.rand(2, *x.shape, device=x.device)
    return model.net(model.process.corrupt(x, time, u, v), time, y)[:, 0]
