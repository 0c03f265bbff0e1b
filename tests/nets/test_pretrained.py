"""Networks of `transformers` in our role, and ours in its format: logits are equal both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from aigc.core.errors import BadInput
from aigc.core.spec import Space, Spec
from aigc.core.views import Tokens
from aigc.families.autoregressive.module import Autoregressive
from aigc.nets.gpt2 import GPT2
from aigc.nets.pretrained import PretrainedLM

SPEC = Spec((12,), vocab=40)
LLAMA = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=40, n_positions=16, n_embd=64, n_layer=2, n_head=2, bos_token_id=39,
        eos_token_id=39, initializer_range=0.2,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gpt2")
    reference.save_pretrained(path)
    return str(path)


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 40, (5, 11), generator=torch.manual_seed(1))


def started(model: Any, ids: torch.Tensor, bos: int = 39) -> torch.Tensor:
    return model(torch.cat([torch.full((len(ids), 1), bos), ids], 1)).logits


def cached(net: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Logits by parts: some tokens at once, some alone, some read twice, rows in another order."""
    cache = net.cache(len(ids))
    parts = [net(ids[:, :3], None, cache), net(ids[:, 3:4], None, cache)]
    net(ids[:, 4:9], None, cache)
    cache.length = 5
    from aigc.families.autoregressive.sampling import select

    select(cache, torch.arange(len(ids)).flip(0))
    rest = net(ids[:, 4:].flip(0), None, cache)
    return torch.cat([*parts, rest.flip(0)], 1)


@pytest.mark.parametrize("make", ["hf", "gpt2"])
def test_a_folder_gives_the_logits_of_transformers(make: str, reference, folder: str, ids):
    net = PretrainedLM(SPEC, folder) if make == "hf" else GPT2(SPEC, weights=folder)
    wanted = started(reference, ids)
    assert torch.allclose(net.eval()(ids), wanted, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(cached(net, ids), wanted, atol=1e-4)


@pytest.mark.parametrize("make", ["hf", "gpt2"])
def test_a_trained_network_goes_back_to_transformers(make: str, folder: str, ids, tmp_path: Path):
    from transformers import AutoModelForCausalLM

    net = PretrainedLM(SPEC, folder) if make == "hf" else GPT2(SPEC, weights=folder)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.eval()(ids).square().mean().backward()
    optimizer.step()
    net.save_pretrained(tmp_path)
    back = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.allclose(started(back, ids), net(ids), atol=1e-4)


def test_ours_from_scratch_is_a_gpt2_of_transformers(ids, tmp_path: Path):
    """The start is the token behind the data's."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    net = GPT2(SPEC, width=32, depth=2, heads=4).eval()
    net.save_pretrained(tmp_path)
    back = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert back.config.bos_token_id == 40
    assert torch.allclose(started(back, ids, bos=40)[..., :40], net(ids), atol=1e-5)


@pytest.mark.parametrize("make", ["hf", "gpt2"])
def test_classes_begin_as_the_start_and_part(make: str, folder: str, reference, ids):
    spec = Spec((12,), vocab=40, classes=3)
    net = PretrainedLM(spec, folder) if make == "hf" else GPT2(spec, weights=folder)
    y = torch.tensor([0, 1, 2, 1, 0])
    out = net.eval()(ids, y)
    assert torch.allclose(out, started(reference, ids), atol=1e-4)
    table = net.start.weight if make == "hf" else net.wte.weight
    with torch.no_grad():
        table[-1] *= -1  # the last class
    moved = (net(ids, y) - out).abs().amax((1, 2)) > 1e-3
    assert moved.tolist() == [False, False, True, False, False]


def test_a_configuration_gives_fresh_weights_for_the_data(ids):
    net = PretrainedLM(SPEC, config=LLAMA)
    assert net.base.config.vocab_size == 40 and net(ids).shape == (5, 12, 40)
    net(ids).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    with torch.no_grad():
        assert torch.allclose(cached(net.eval(), ids), net(ids), atol=1e-5)
    again = PretrainedLM(SPEC, **net.blueprint())
    again.load_state_dict(net.state_dict())
    assert torch.allclose(again.eval()(ids), net(ids), atol=1e-6)


@pytest.mark.parametrize("target", ["folder", "llama"])
def test_a_run_is_built_again_without_its_folder(target: str, folder: str, ids):
    origin = {"name": folder} if target == "folder" else {"config": LLAMA}
    net = PretrainedLM(SPEC, **origin, lora=2).eval()
    again = PretrainedLM(SPEC, **net.blueprint(), lora=2).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(ids), net(ids))
    ours = GPT2(SPEC, weights=folder).eval()
    copy = GPT2(SPEC, **ours.blueprint()).eval()
    copy.load_state_dict(ours.state_dict())
    assert torch.equal(copy(ids), ours(ids))


def test_adapters_are_few_and_load_in_peft(reference, folder: str, ids, tmp_path: Path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    net = PretrainedLM(SPEC, folder, lora=1).eval()
    assert torch.allclose(net(ids), started(reference, ids), atol=1e-4)  # they begin at zero
    trained = [p for p in net.parameters() if p.requires_grad]
    share = sum(p.numel() for p in trained) / sum(p.numel() for p in net.parameters())
    assert 0 < share < 0.05
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD(trained, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        net(ids).square().mean().backward()
        optimizer.step()
    changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all("lora_" in name for name in changed)
    net.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    base = AutoModelForCausalLM.from_pretrained(folder)
    back = PeftModel.from_pretrained(base, tmp_path).eval()
    assert torch.allclose(started(back, ids), net(ids), atol=1e-4)


def test_blocks_are_frozen_from_the_bottom_and_learn_slower_there(folder: str):
    net = PretrainedLM(SPEC, folder, frozen=1, layer_decay=0.5)
    blocks = net.base.transformer.h
    assert not any(p.requires_grad for p in blocks[0].parameters())
    assert not net.base.transformer.wpe.weight.requires_grad
    assert all(p.requires_grad for p in blocks[1].parameters())

    view = Tokens(Space((12,), 40, ordered=False))
    module = Autoregressive(
        causal_lm=lambda spec: PretrainedLM(spec, folder, layer_decay=0.5),
        view=view,
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3),
    )
    groups = module.configure_optimizers()["optimizer"].param_groups
    rate = {id(p): g["initial_lr"] for g in groups for p in g["params"]}
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    model = module.net.base.transformer
    assert rate[id(model.ln_f.weight)] == 1e-3
    assert rate[id(model.h[1].mlp.c_fc.weight)] == 1e-3
    assert rate[id(model.h[0].mlp.c_fc.weight)] == 5e-4
    assert rate[id(model.wte.weight)] == 2.5e-4
    assert decay[id(model.ln_f.weight)] == 0 < decay[id(model.wte.weight)]


def test_what_does_not_fit_is_said_in_a_line(folder: str, tmp_path: Path):
    with pytest.raises(BadInput, match="the model has 40 tokens, the data 41"):
        PretrainedLM(Spec((12,), vocab=41), folder)
    with pytest.raises(BadInput, match="reads 16 tokens, the data have 20"):
        PretrainedLM(Spec((20,), vocab=40), folder)
    with pytest.raises(BadInput, match="of 40 tokens and 16 positions"):
        GPT2(Spec((20,), vocab=40), weights=folder)
    with pytest.raises(BadInput, match="needs a name"):
        PretrainedLM(SPEC)
    with pytest.raises(BadInput, match="frozen=3: the model has 2 blocks"):
        PretrainedLM(SPEC, folder, frozen=3)
    for make in (lambda f: PretrainedLM(SPEC, f), lambda f: GPT2(SPEC, weights=f)):
        with pytest.raises(BadInput, match="cannot be"):
            make(str(tmp_path))
    with pytest.raises(BadInput, match=r"net\.causal_lm\.config"):
        PretrainedLM(SPEC, config={"model_type": "no_such_model"})
