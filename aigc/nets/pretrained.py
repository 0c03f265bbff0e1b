"""Models of `transformers` as networks of ours: whole, frozen in part, or with adapters of
`peft`."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from aigc.core.errors import BadInput
from aigc.core.spec import Spec

PADDING = 128  # vocabularies are padded to a multiple of this at most


class HFCache:
    """A static cache of `transformers` with the fields that decoding uses."""

    def __init__(self, cache: Any):
        self.cache = cache

    @property
    def length(self) -> int:
        """Positions read, the start included."""
        return int(self.cache.get_seq_length())

    @length.setter
    def length(self, value: int) -> None:
        """Forget what comes after."""
        for layer in self.cache.layers:
            layer.cumulative_length.fill_(value)

    def select(self, rows: Tensor) -> None:
        """Keep rows of the batch."""
        self.cache.reorder_cache(rows)


class PretrainedLM(nn.Module):
    """CausalLM role around any causal language model of `transformers`.

    `name` is a hub name or a folder; `config` a dictionary with `model_type`, for fresh weights.
    With both, the network is built from `config` (as a finished run does). The start is the
    model's first token (`bos`), or one learned vector a class. `frozen` blocks from the bottom,
    and the embeddings below them, are not trained; `lora` is the rank of adapters on every
    linear map, which then are all that is trained (Hu et al. 2022); each block learns at
    `layer_decay` times the rate of the block above it (Howard & Ruder 2018).
    """

    captions = False  # it reads labels alone

    def __init__(
        self,
        spec: Spec,
        name: str | None = None,
        config: dict[str, Any] | None = None,
        frozen: int = 0,
        lora: int = 0,
        layer_decay: float = 1.0,
    ):
        super().__init__()
        model = _fresh(spec, config) if config else _load(name)
        self.lm = _with_lora(model, lora) if lora else model
        self.lm.train()  # loaded models come with dropout off
        self._fit(spec)
        if frozen:
            self._freeze(frozen)
        if layer_decay != 1.0:
            self._decay(layer_decay)

    @classmethod
    def around(cls, model: Any, spec: Spec) -> Self:
        """The role around a model that is there already."""
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net.lm = model
        net._fit(spec)
        return net

    def forward(self, ids: Tensor, y: Tensor | None = None, cache: HFCache | None = None) -> Tensor:
        """`ids (B, T)`, `y (B,)` to logits `(B, T + 1, V)`, or of the new ids alone."""
        begins = cache is None or cache.length == 0
        # On CPU the fused kernel's result for one row depends on the others of the batch.
        self.base.config._attn_implementation = self.attention if cache is None else "eager"
        out = self.base(
            **self._inputs(ids, y, begins),
            past_key_values=cache and cache.cache,
            use_cache=cache is not None,
            output_hidden_states=cache is not None,
        )
        if cache is not None:
            self.norm(out.hidden_states[-1])
        return out.logits[..., : self.vocab]

    def cache(self, batch: int) -> HFCache:
        """Room for the start and all tokens but the last."""
        from transformers import StaticCache

        return HFCache(StaticCache(config=self.base.config, max_cache_len=self.length))

    @property
    def base(self) -> Any:
        """The model of `transformers`, without the wrapper of `peft`."""
        return self.lm.get_base_model() if hasattr(self.lm, "get_base_model") else self.lm

    def blueprint(self) -> dict[str, Any]:
        """Options that build this network anew without its origin; the weights come from the
        run."""
        return {"name": None, "config": self.base.config.to_dict()}

    def save_pretrained(self, folder: str | Path) -> None:
        """A folder that `AutoModelForCausalLM`, or for adapters `peft`, loads."""
        self.base.config._attn_implementation = self.attention
        self.lm.save_pretrained(folder)

    def _inputs(self, ids: Tensor, y: Tensor | None, begins: bool) -> dict[str, Tensor]:
        if self.start is None:
            bos = ids.new_full((len(ids), 1), self.bos)
            return {"input_ids": torch.cat([bos, ids], 1) if begins else ids}
        embedded = self.base.get_input_embeddings()(ids)
        if begins:
            y = ids.new_zeros(len(ids)) if y is None else y
            embedded = torch.cat([self.start(y)[:, None], embedded], 1)
        return {"inputs_embeds": embedded}

    def _fit(self, spec: Spec) -> None:
        """Hold the model against the data, and give it a start."""
        config = self.base.config
        self.length, self.vocab, self.bos = spec.shape[0], spec.vocab, config.bos_token_id
        self.attention = config._attn_implementation or "sdpa"
        self.norm = nn.Identity()  # what leaves it are the last hidden states
        if not 0 <= config.vocab_size - spec.vocab < PADDING:
            raise BadInput(
                f"the model has {config.vocab_size} tokens, the data {spec.vocab}: take the "
                "model's own vocabulary (modality.codec.tokenizer=hf or gpt2, and its path)"
            )
        room = getattr(config, "max_position_embeddings", spec.shape[0])
        if room < spec.shape[0]:
            raise BadInput(f"the model reads {room} tokens, the data have {spec.shape[0]}")
        self.start = None
        if spec.classes or self.bos is None:
            table = self.base.get_input_embeddings().weight
            first = table.mean(0) if self.bos is None else table[self.bos]
            self.start = nn.Embedding(max(spec.classes, 1), table.shape[1])
            self.start.weight.data.copy_(first.detach())

    def _blocks(self) -> nn.ModuleList:
        lists = [m for m in self.base.modules() if isinstance(m, nn.ModuleList)]
        return max(lists, key=len)

    def _freeze(self, count: int) -> None:
        blocks = self._blocks()
        if count > len(blocks):
            raise BadInput(f"net.causal_lm.frozen={count}: the model has {len(blocks)} blocks")
        for module in (*_embeddings(self.base), *blocks[:count]):
            module.requires_grad_(False)

    def _decay(self, factor: float) -> None:
        """The optimizer reads `lr_scale` of a parameter."""
        blocks = self._blocks()
        for below, module in enumerate(reversed([nn.ModuleList(_embeddings(self.base)), *blocks])):
            for parameter in module.parameters():
                parameter.lr_scale = factor**below


def _load(name: str | None) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    if name is None:
        raise BadInput("net.causal_lm needs a name (of the hub, or a folder) or a config")
    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"net.causal_lm.name={name} cannot be loaded: {reason}") from error


def _fresh(spec: Spec, settings: dict[str, Any]) -> Any:
    """Random weights; the vocabulary and the room for positions come from the data."""
    from transformers import AutoConfig, AutoModelForCausalLM

    none = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    try:
        config = AutoConfig.for_model(**{"vocab_size": spec.vocab, **none, **settings})
        places = "max_position_embeddings"
        if not {places, config.attribute_map.get(places)} & set(settings):
            setattr(config, places, spec.shape[0])
        return AutoModelForCausalLM.from_config(config)
    except (ValueError, TypeError) as error:
        raise BadInput(f"net.causal_lm.config: {str(error).splitlines()[0]}") from error


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise BadInput("net.causal_lm.lora needs peft: pip install 'aigc[finetune]'") from error
    adapters = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in model.modules()),
    )
    return get_peft_model(model, adapters)


def _embeddings(model: Any) -> list[nn.Module]:
    """Token and position tables: the embeddings that lie outside the blocks."""
    return [m for m in model.modules() if isinstance(m, nn.Embedding)]
