"""Evaluation with other extractors and with all metrics, on a smoke run."""

import pytest

import aigc
from aigc.core.errors import BadInput
from aigc.lab.judge import Judge


@pytest.fixture(scope="module")
def vae(smoke):
    return aigc.load(smoke("model=vae", "trainer.preview=8"))


def test_all_metrics_have_a_value_or_a_reason(vae):
    rows = aigc.evaluate(vae, "n=48", "metrics=all", "extractors=[pca,clf]")
    by_name = {row["metric"]: row for row in rows}
    for name in ("psnr", "inception_score", "modes", "fd_inf", "mauve", "latency_ms", "energy"):
        row = by_name[name]
        assert row["status"] == "ok" or "needs at least" in row["reason"], row
    assert by_name["train_flops"]["value"] > 1e6 and by_name["peak_mb"]["value"] > 1
    assert by_name["ssim"]["reason"] == "pictures smaller than the window of 11 pixels"
    assert "for pictures of at least 31 pixels" in by_name["lpips"]["reason"]
    assert by_name["inception_score"]["extractor"].startswith("clf4-")
    extractors = {row["extractor"].split("@")[0] for row in rows if row["metric"] == "kid"}
    assert any(name.startswith("clf") and name.endswith("%") for name in extractors)


def test_a_model_without_labels_is_judged_by_those_of_the_data(smoke):
    run = aigc.load(smoke("model=vae", "labels=false"))
    rows = aigc.evaluate(run, "n=48", "metrics=[inception_score,ssim,fd]", "extractors=[clf]")
    by_name = {row["metric"]: row for row in rows}
    assert by_name["inception_score"]["status"] == by_name["fd"]["status"] == "ok"
    assert by_name["inception_score"]["value"] >= 1
    assert "smaller than the window" in by_name["ssim"]["reason"]  # it was rebuilt, without labels
    references = run.dir.rows("references.jsonl")
    assert any(row["of"] == "real" and row["metric"] == "inception_score" for row in references)


def test_features_of_raw_data_are_refused_where_they_are_too_many(vae):
    rows = aigc.evaluate(vae, "n=48", "metrics=[fd,energy]", "extractors=[raw]")
    raw = {row["metric"]: row for row in rows if (row["extractor"] or "").startswith("raw64@")}
    assert raw["fd"]["reason"] == "needs at least 128 examples for 64 features, has 48"
    assert raw["energy"]["status"] == "ok"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clg", "unknown extractor 'clg'.*did you mean 'clf'"),
        ("yamnet", "extractor 'yamnet' is for audio, and this run makes image"),
        ("efficientnet:/no/such", "there is no /no/such: say where the weights"),
        ("hf", "say where the weights of 'hf' lie"),
        ("pca:x", "extractor 'pca' reads no file"),
    ],
)
def test_what_cannot_extract_is_said(vae, name: str, said: str):
    with pytest.raises(BadInput, match=said):
        Judge(vae.store, 48, [name])


def test_flops_of_a_convolution_attention_and_a_linear_layer():
    """Twice the multiplications: 606,208 for the first two, 16,384 for attention."""
    import torch
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention as attend
    from torch.utils.flop_counter import FlopCounterMode

    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8192, 10))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32))
        q = torch.zeros(1, 2, 16, 8)
        attend(q, q, q)
    assert counter.get_total_flops() == 606_208 + 16_384
