"""Language models of 6 layers, 6 heads, width 192, context 256, 65 characters."""

from contextlib import nullcontext
from functools import partial

import torch
from benchlib.plain import GPT as Plain
from torch.nn import functional as F

from aigc.core.spec import Space
from aigc.lab.bench import case

LAYERS, HEADS, WIDTH, CONTEXT, VOCAB, BATCH = 6, 6, 192, 256, 65, 16


def ours():
    """Our family with its own network."""
    from aigc.nets.transformer import CausalTransformer

    return family(CausalTransformer)


def our_gpt2():
    """Our family with GPT-2, the network of `transformers` here."""
    from aigc.nets.gpt2 import GPT2

    return family(partial(GPT2, dropout=0.0))


def family(kind):
    """Our family with a network of that size."""
    from aigc.core.views import Tokens
    from aigc.families.autoregressive.module import Autoregressive

    torch.manual_seed(0)
    net = partial(kind, width=WIDTH, depth=LAYERS, heads=HEADS)
    return Autoregressive(net, view=Tokens(Space((CONTEXT,), VOCAB)))


def gpt2():
    """transformers' GPT-2 of that size, as its documentation says to load it: SDPA attention."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "vocab_size": VOCAB}
    drop = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(n_positions=CONTEXT + 1, **sizes, **drop, bos_token_id=0, eos_token_id=None)
    config._attn_implementation = "sdpa"
    return GPT2LMHeadModel(config)


def lit():
    """litgpt's GPT of that size."""
    from litgpt.config import Config
    from litgpt.model import GPT

    sizes = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": CONTEXT + 1}
    model = GPT(Config(vocab_size=VOCAB, padded_vocab_size=VOCAB, **sizes))
    model.apply(model._init_weights)
    return model


def training(bf16: bool, compiled: bool = False, own=ours):
    """Forward, backward, fused AdamW, on random batches that all contenders share."""
    batches = torch.randint(VOCAB, (8, BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))

    def start(build, loss):
        def make():
            model = build().train()
            optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
            if compiled:
                for part in [model.net] if hasattr(model, "view") else [model]:
                    part.compile()
            turn = iter(range(10**9))

            def step():
                with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                    value = loss(model, batches[next(turn) % 8])
                optimizer.zero_grad()
                value.backward()
                optimizer.step()

            return step

        return make

    def shifted(logits, ids):
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    return {
        "aigc": start(own, lambda m, ids: m.loss(ids, None).value),
        "plain torch": start(
            lambda: Plain(LAYERS, HEADS, WIDTH, CONTEXT, VOCAB),
            lambda m, ids: shifted(m(ids[:, :-1]), ids),
        ),
        "transformers": start(gpt2, lambda m, ids: m(input_ids=ids, labels=ids).loss),
        "litgpt": start(lit, lambda m, ids: shifted(m(ids[:, :-1]), ids)),
    }


@case("ar_train_fp32", unit="tokens/s", count=BATCH * CONTEXT, limit="gemm_fp32")
def ar_train_fp32():
    """Training step of a small GPT, batch 16, fp32."""
    return training(bf16=False)


@case("ar_train_bf16", unit="tokens/s", count=BATCH * CONTEXT, limit="gemm_bf16")
def ar_train_bf16():
    """The same under bf16 autocast."""
    return training(bf16=True)


@case("gpt2_train_fp32", unit="tokens/s", count=BATCH * CONTEXT, limit="gemm_fp32")
def gpt2_train_fp32():
    """Training step of ours with the network that transformers has, fp32."""
    return training(bf16=False, own=our_gpt2)


@case("gpt2_train_bf16", unit="tokens/s", count=BATCH * CONTEXT, limit="gemm_bf16")
def gpt2_train_bf16():
    """The same under bf16 autocast."""
    return training(bf16=True, own=our_gpt2)


@case("ar_compiled_bf16", unit="tokens/s", count=BATCH * CONTEXT, light=True)
def ar_compiled_bf16():
    """The same, every contender through torch.compile (which litgpt recommends)."""
    return training(bf16=True, compiled=True)


def generation(rows: int):
    """256 new tokens after one, sampled at temperature 1."""

    def aigc():
        from aigc.families.autoregressive.sampling import Temperature

        model = ours().eval()
        return lambda: model.sample(rows, sampler=Temperature()) and None

    def transformers(cache):
        def make():
            model, start = gpt2().eval(), torch.zeros(rows, 1, dtype=torch.long)
            how = {"do_sample": True, "top_k": 0, "max_new_tokens": CONTEXT, "pad_token_id": 0}
            how |= {"attention_mask": torch.ones_like(start), "disable_compile": True}
            how |= {"cache_implementation": cache} if cache else {}
            return lambda: torch.no_grad()(model.generate)(start, **how) is None or None

        return make

    def litgpt():
        from litgpt.generate.base import batched_generate_fn, generate_fn

        model = lit().eval()
        model.set_kv_cache(rows)
        prompt, room = torch.zeros(rows, 1, dtype=torch.long), CONTEXT + 1
        ends = {"include_prompt": True, "include_eos": False}
        if rows == 1:
            return lambda: list(generate_fn(model, prompt[0], room, **ends)) and None
        how = {"sample_args": {"temperature": 1.0}, **ends}
        return lambda: list(batched_generate_fn(model, prompt, room, **how)) and None

    return {
        "aigc": aigc,
        "transformers dynamic": transformers(None),
        "transformers static": transformers("static"),
        "litgpt": litgpt,
    }


@case("ar_generate_1", unit="tokens/s", count=CONTEXT, limit="gemm_fp32")
def ar_generate_1():
    """256 new tokens, batch 1."""
    return generation(1)


@case("ar_generate_32", unit="tokens/s", count=32 * CONTEXT, limit="gemm_fp32")
def ar_generate_32():
    """256 new tokens, batch 32."""
    return generation(32)
