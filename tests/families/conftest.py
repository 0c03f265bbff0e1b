"""Models of the reference library, tiny and random."""

from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def gpt2() -> Any:
    """A GPT-2 of 15 tokens with wide logits, so that laws are far from uniform."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=15, n_positions=16, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=14, eos_token_id=None, pad_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()
