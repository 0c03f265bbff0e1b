"""GPT-2 (Radford et al. 2019) in plain torch: learned positions, LayerNorm, GELU, biases.

Its weights come from and go to folders of `transformers`, where the same maps are stored
transposed.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aigc.core.errors import BadInput
from aigc.core.spec import Spec
from aigc.nets.layers import attention
from aigc.nets.transformer import Cache


class Layer(nn.Module):
    """Attention and MLP, each behind a LayerNorm."""

    def __init__(self, width: int, heads: int, eps: float, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, nn.Dropout(dropout)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attn = nn.ModuleDict(
            {"c_attn": nn.Linear(width, 3 * width), "c_proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """`x (B, T, width)`, after what the cache holds."""
        x = x + self.dropout(self._attend(self.ln_1(x), cache, layer))
        h = F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.dropout(self.mlp["c_proj"](h))

    def _attend(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        qkv = self.attn["c_attn"](x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if cache is None:
            h = attention(q, k, v, causal=True)
        else:
            start, stop = cache.length, cache.length + x.shape[1]
            cache.keys[layer, :, :, start:stop], cache.values[layer, :, :, start:stop] = k, v
            scores = q @ cache.keys[layer, :, :, :stop].transpose(-1, -2) / q.shape[-1] ** 0.5
            later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(start + 1)
            scores = scores.masked_fill(later, float("-inf")).softmax(-1)
            h = scores @ cache.values[layer, :, :, :stop]
        return self.attn["c_proj"](h.transpose(1, 2).flatten(2))


class GPT2(nn.Module):
    """CausalLM role; `weights` is a folder in the format of `transformers`, whose sizes it takes.

    The start is a token of the vocabulary: the folder's `bos_token_id`, else one row more, or one
    a class, behind the tokens of the data. `config` is a folder's config.json, without weights.
    """

    captions = False  # it reads labels alone

    def __init__(
        self,
        spec: Spec,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        dropout: float = 0.1,
        weights: str | None = None,
        config: dict[str, Any] | None = None,
    ):
        super().__init__()
        tensors: dict[str, Tensor] = {}
        if weights:
            config, tensors = _read(Path(weights))
        c = {**_config(spec, width, depth, heads or max(1, width // 64)), **(config or {})}
        _check(c, spec)
        if spec.classes and weights:  # the classes start as the folder's own start
            c |= {"vocab_size": c["vocab_size"] + spec.classes, "bos_token_id": c["vocab_size"]}
        self.config, self.length, self.vocab = c, spec.shape[0], spec.vocab
        self.wte = nn.Embedding(c["vocab_size"], c["n_embd"])
        self.wpe = nn.Embedding(c["n_positions"], c["n_embd"])
        self.h = nn.ModuleList(
            Layer(c["n_embd"], c["n_head"], c["layer_norm_epsilon"], dropout)
            for _ in range(c["n_layer"])
        )
        self.ln_f = nn.LayerNorm(c["n_embd"], c["layer_norm_epsilon"])
        self.drop, self.norm = nn.Dropout(dropout), nn.Identity()
        self.apply(_init)
        for name, p in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(p, std=0.02 / (2 * c["n_layer"]) ** 0.5)
        if tensors:
            self._load(tensors, config["bos_token_id"])

    def forward(self, ids: Tensor, y: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """`ids (B, T)`, `y (B,)` to logits `(B, T + 1, V)`, or of the new ids alone."""
        first = cache.length if cache else 0
        if first == 0:
            y = ids.new_zeros(len(ids)) if y is None else y
            ids = torch.cat([self.config["bos_token_id"] + y[:, None], ids], dim=1)
        x = self.drop(self.wte(ids) + self.wpe.weight[first : first + ids.shape[1]])
        for layer, block in enumerate(self.h):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += x.shape[1]
        h = self.norm(self.ln_f(x))  # the last hidden states, for who listens at `norm`
        return F.linear(h, self.wte.weight)[..., : self.vocab]

    def cache(self, batch: int) -> Cache:
        """Room for the start and all tokens but the last."""
        c, weight = self.config, self.wte.weight
        shape = (c["n_layer"], batch, c["n_head"], self.length, c["n_embd"] // c["n_head"])
        return Cache(weight.new_empty(shape), weight.new_empty(shape))

    def blueprint(self) -> dict[str, Any]:
        """Options that build this network anew without its folder; weights come from the run."""
        return {"weights": None, "config": self.config}

    def save_pretrained(self, folder: str | Path) -> None:
        """A folder that `AutoModelForCausalLM` loads; its logits are ours for the tokens of the
        data."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"transformer.{k}": _turned(k, v) for k, v in self.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))

    def _load(self, tensors: dict[str, Tensor], bos: int) -> None:
        """Weights of a folder; more rows of `wte` than it has begin as its start."""
        own = {k.removeprefix("transformer."): v.float() for k, v in tensors.items()}
        table = own["wte.weight"]
        own["wte.weight"] = torch.cat([table, table[[bos] * (len(self.wte.weight) - len(table))]])
        self.load_state_dict({name: _turned(name, own[name]) for name in self.state_dict()})


def _turned(name: str, tensor: Tensor) -> Tensor:
    """Weights of linear maps lie transposed in GPT-2's files."""
    linear = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
    return tensor.T.contiguous() if linear else tensor


def _config(spec: Spec, width: int, depth: int, heads: int) -> dict[str, Any]:
    """GPT-2's configuration file for data of `spec`."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": spec.vocab + max(spec.classes, 1),
        "n_positions": spec.shape[0],
        "n_embd": width,
        "n_layer": depth,
        "n_head": heads,
        "layer_norm_epsilon": 1e-5,
        "bos_token_id": spec.vocab,
        "eos_token_id": None,
        "tie_word_embeddings": True,
    }


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of a GPT-2 of `transformers`."""
    try:
        config = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
    except (OSError, ValueError) as error:
        raise BadInput(f"net.causal_lm.weights={folder} cannot be read: {error}") from error
    if config.get("model_type") != "gpt2":
        raise BadInput(f"{folder} holds a {config.get('model_type')}, not a gpt2: net/causal_lm=hf")
    if config.get("bos_token_id") is None:
        raise BadInput(f"{folder}/config.json names no bos_token_id, from which a text starts")
    return config, tensors


def _check(config: dict[str, Any], spec: Spec) -> None:
    if config["vocab_size"] < spec.vocab or config["n_positions"] < spec.shape[0]:
        raise BadInput(
            f"GPT-2 of {config['vocab_size']} tokens and {config['n_positions']} positions for "
            f"data of {spec.vocab} and {spec.shape[0]}: give it the data's vocabulary and context"
        )
    if config["n_embd"] % config["n_head"]:
        raise BadInput(f"net.causal_lm: width {config['n_embd']} over {config['n_head']} heads")


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
