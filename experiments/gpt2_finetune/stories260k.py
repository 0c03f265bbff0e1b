"""The 260 k-parameter story model of llama2.c as a folder of `transformers`.

`python stories260k.py stories260K.bin tok512.bin FOLDER` writes config.json, model.safetensors and
tokenizer.json (no space is put before a text, so that encoding is lossless).
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main(weights: str, vocabulary: str, folder: str) -> None:
    """Convert and say where to."""
    model = llama(Path(weights).read_bytes())
    model.save_pretrained(folder)
    size = model.config.vocab_size
    tokens = read_tokens(Path(vocabulary).read_bytes(), size)
    (Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer(tokens)))
    print(folder)


def llama(raw: bytes) -> LlamaForCausalLM:
    """llama2.c's format: seven integers, then the weights of all layers, kind by kind."""
    dim, hidden, layers, heads, kv_heads, vocab, length = struct.unpack("7i", raw[:28])
    numbers = torch.from_numpy(np.frombuffer(raw, "<f4", offset=28).copy())
    place = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal place
        size = int(np.prod(shape))
        place += size
        return numbers[place - size : place].view(shape)

    kv = dim // heads * kv_heads
    table = take(vocab, dim)
    parts = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": halves(take(layers, dim, dim), heads),
        "self_attn.k_proj": halves(take(layers, kv, dim), kv_heads),
        "self_attn.v_proj": take(layers, kv, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    state = {"model.embed_tokens.weight": table, "model.norm.weight": take(dim)}
    for name, part in parts.items():
        state |= {f"model.layers.{i}.{name}.weight": w for i, w in enumerate(part)}
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=length,
        rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.load_state_dict(state | {"lm_head.weight": table})
    return model


def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama2.c rotates neighbouring channels, transformers the first half with the second."""
    layers, out, dim = weight.shape
    return weight.view(layers, heads, -1, 2, dim).transpose(2, 3).reshape(layers, out, dim)


def read_tokens(raw: bytes, count: int) -> list[tuple[str, float]]:
    """Tokens and their scores."""
    place, out = 4, []
    for _ in range(count):
        score, size = struct.unpack_from("fi", raw, place)
        out.append((raw[place + 8 : place + 8 + size].decode(), score))
        place += 8 + size
    return out


def tokenizer(tokens: list[tuple[str, float]]) -> dict:
    """`tokenizers`' JSON: merges in the order of the scores of what they make."""
    special = ["<unk>", "<s>", "</s>"]
    names = [*special, *(f"<0x{b:02X}>" for b in range(256))]
    names += [text.replace(" ", "\u2581") for text, _ in tokens[len(names) :]]
    vocab = {name: i for i, name in enumerate(names)}
    learned = set(names[259:])
    merges = []
    for i in sorted(range(259, len(names)), key=lambda i: -tokens[i][1]):
        word = names[i]
        pairs = [(word[:k], word[k:]) for k in range(1, len(word))]
        merges += [list(pair) for pair in pairs if set(pair) <= learned]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": name, "special": True, **flags} for i, name in enumerate(special)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": merges,
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
