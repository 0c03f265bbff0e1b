"""Generative perplexity under a judge: of our own runs and of transformers, against direct sums."""

from pathlib import Path

import pytest
import torch

import aigc
from aigc.core.errors import BadInput
from aigc.lab.opinion import entropy, opinion


def test_entropy_of_tokens():
    assert entropy(torch.tensor([1, 1, 2, 2])) == pytest.approx(1)
    assert entropy(torch.tensor([5, 5, 5])) == 0


def test_without_a_judge_the_reason_says_how(smoke):
    words = ("model=autoregressive", "modality=text", "trainer.preview=0", "study=opinion")
    run = aigc.load(smoke(*words))
    words = ["metrics=[generative_perplexity,token_entropy]", "n=16"]
    rows = aigc.evaluate(run, *words)
    assert "judge=RUN" in rows[0]["reason"] and rows[0]["value"] is None
    rows = {r["metric"]: r for r in aigc.evaluate(run, *words, f"judge={run.dir}") if r["value"]}
    row = rows["generative_perplexity"]
    assert row["extractor"].startswith(run.dir.path.name) and row["n"] == 16
    ids = run.codec.encode(run.codec.decode(run.sample(16, batch_size=256).ids))
    nats = run.model.nats(run.model.view.encode(ids), None).double().mean() / ids.shape[1]
    assert row["value"] == pytest.approx(nats.exp().item(), rel=1e-4)
    assert 1 < rows["token_entropy"]["value"] < 8


def test_a_language_model_of_transformers(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {w: i for i, w in enumerate(["[UNK]", "a", "b", "c"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    fast.save_pretrained(tmp_path)
    config = transformers.GPT2Config(vocab_size=4, n_embd=8, n_layer=1, n_head=1, n_positions=6)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path)
    found = opinion(str(tmp_path), ["a b c", "a a a a a a a a a", "c"])
    judged = found["judged"]
    assert judged.tokens.tolist() == [2, 5] and found["by"]["judged"].startswith("hf-")
    ids = torch.tensor([[1, 2, 3]])
    assert judged.nats[0] == pytest.approx(2 * float(model(ids, labels=ids).loss), rel=1e-5)
    with pytest.raises(BadInput, match="holds no language model"):
        opinion(str(tmp_path / "no"), ["a b"])
