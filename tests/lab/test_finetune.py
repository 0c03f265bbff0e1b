"""The experiment gpt2_finetune from end to end, on a GPT-2 and a vocabulary made here."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import aigc as package

TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 60
SMALL = [
    "experiment=gpt2_finetune", "budget=smoke", "budget.examples=256", "budget.batch_size=16",
    "optimizer.lr=3e-3", "trainer.validations=4", "trainer.preview=4", "modality.codec.context=24",
]  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> str:
    """A folder of train.txt, validation.txt and test.txt."""
    folder = tmp_path_factory.mktemp("texts")
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text(TEXT)
    return str(folder)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """What a hub would hold: a model and its tokenizer."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([TEXT], 300, special_tokens=["<|endoftext|>"])
    folder = tmp_path / "hub"
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(), n_positions=32, n_embd=32, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    bpe.save(str(folder / "tokenizer.json"))
    return folder


def test_fine_tune_judge_write_and_hand_on(aigc, origin: Path, texts: str, tmp_path: Path):
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    words = [*SMALL, f"net.causal_lm.name={origin}", "dataset=text", f"dataset.path={texts}"]
    code, out, err = aigc("train", *words)
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    shutil.rmtree(origin)  # the run is enough from here on

    code, _, err = aigc("evaluate", f"run={folder}", "n=40", "sampler=beam", "sampler.beams=2")
    assert code == 0, err
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    bleu = {r["metric"]: r for r in rows if r["metric"].startswith("bleu")}
    values = [bleu[f"bleu_{n}"]["value"] for n in (1, 2, 3, 4)]
    assert values == sorted(values, reverse=True) and 0 < values[0] <= 100
    assert "ref=40 sacrebleu|nrefs:1" in bleu["bleu_4"]["protocol"]
    assert bleu["bleu_4"]["sampler"] == "beam beams=2 length_penalty=1.0"

    for sampler in ("temperature", "top_k", "top_p", "beam"):
        target = tmp_path / sampler
        code, _, err = aigc(
            "sample", f"run={folder}", "n=2", "prompt='The quick'", f"sampler={sampler}",
            f"out={target}",
        )  # fmt: skip
        assert code == 0, err
        assert (target / "samples.txt").read_text().count("The quick") >= 2

    run = package.load(folder)
    handed = tmp_path / "handed"
    assert aigc("export", str(folder), str(handed))[:2] == (0, f"{handed}\n")
    model = AutoModelForCausalLM.from_pretrained(handed).eval()
    ids = run.codec.encode([TEXT])[:2]
    start = torch.full((2, 1), model.config.bos_token_id)
    with torch.no_grad():
        wanted = model(torch.cat([start, ids], 1)).logits
        assert torch.allclose(run.model.net(ids), wanted, atol=1e-4)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(handed / "tokenizer.json"))
    assert tokenizer.decode(ids[0]) == run.codec.decode(ids[:1])[0]


def test_adapters_alone_are_trained(aigc, origin: Path, texts: str, tmp_path: Path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    words = [*SMALL, f"net.causal_lm.name={origin}", "dataset=text", f"dataset.path={texts}"]
    code, out, err = aigc("train", *words, "net.causal_lm.lora=1")
    assert code == 0, err
    run = package.load(out.strip().splitlines()[-1])
    status = run.dir.status
    assert 0 < status["trained_parameters"] < 0.1 * status["parameters"]
    run.export(tmp_path / "adapter")
    back = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(origin), tmp_path / "adapter"
    ).eval()
    ids = run.codec.encode([TEXT])[:2]
    start = torch.full((2, 1), back.config.bos_token_id)
    with torch.no_grad():
        wanted = back(torch.cat([start, ids], 1)).logits
        assert torch.allclose(run.model.net(ids), wanted, atol=1e-4)


def test_pairs_are_learned_judged_and_continued(aigc, tmp_path: Path):
    """Question to answer, on bytes: the same command, our own small transformer."""
    lines = [
        {"prompt": f"{a} + {b} =", "completion": str(a + b)} for a in range(9) for b in range(9)
    ]
    file = tmp_path / "sums.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    words = ["model=autoregressive", "modality=text", "dataset=pairs", f"dataset.path={file}"]
    words += ["modality.codec.context=16", "budget=smoke", "trainer.validations=2"]
    code, out, err = aigc("train", *words, "trainer.preview=4")
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    preview = (folder / "samples" / "preview" / "samples.txt").read_text()
    assert preview.count("=\n") == 4
    code, _, err = aigc("evaluate", f"run={folder}", "sampler=greedy")
    assert code == 0, err
    rows = {r["metric"]: r for r in map(json.loads, (folder / "results.jsonl").open())}
    assert rows["bits_per_byte"]["protocol"].endswith("given prompt")
    assert rows["bleu_1"]["status"] == "ok"
    text = package.load(folder).sample(1, prompt="2 + 2 =", sampler="greedy").data[0]
    assert text.startswith("2 + 2 =\n")
