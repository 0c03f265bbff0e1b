"""Likelihood in units that no encoding can bend: bits a dimension of the same ids, bits a byte
of text."""

from math import exp, log

import torch

from aigc.metrics.registry import MODALITIES, Evidence, metric


@metric(
    "bits_per_dim",
    needs={"nats"},
    better="low",
    axis="likelihood",
    modalities=MODALITIES - {"text"},
    stat="mean",
)
def bits_per_dim(evidence: Evidence) -> tuple[float, float]:
    """Bits to code one id of unseen data; exact or an upper bound (see kind)."""
    return _mean(evidence.nats / (evidence.dims * log(2)))


@metric(
    "bits_per_byte",
    needs={"nats", "nbytes"},
    better="low",
    axis="likelihood",
    modalities=frozenset({"text"}),
    stat="mean",
)
def bits_per_byte(evidence: Evidence) -> tuple[float, float]:
    """Bits to code one byte of unseen text; compares tokenizers, which perplexity does not."""
    bytes_each = evidence.nbytes.double()
    return _mean(evidence.nats / (bytes_each.mean() * log(2)))


@metric(
    "perplexity",
    needs={"nats", "tokens"},
    better="low",
    axis="likelihood",
    modalities=frozenset({"text"}),
    stat="mean",
    shown=False,
)
def perplexity(evidence: Evidence) -> tuple[float, float]:
    """Exponential of the nats of a predicted token; comparable for one tokenizer only."""
    mean, error = _mean(evidence.nats / evidence.tokens.double().mean())
    return exp(mean), exp(mean) * error


BY_JUDGE = {"needs": {"judged"}, "modalities": frozenset({"text"}), "cost": "model", "shown": False}


@metric("generative_perplexity", **BY_JUDGE, better="low", axis="fidelity", stat="mean")
def generative_perplexity(evidence: Evidence) -> tuple[float, float]:
    """Perplexity of the samples under another language model; repetition lowers it, so read it
    beside their entropy."""
    judged = evidence.judged
    mean, error = _mean(judged.nats / judged.tokens.double().mean())
    return exp(mean), exp(mean) * error


@metric("token_entropy", **BY_JUDGE, better="high", axis="diversity", stat="mean")
def token_entropy(evidence: Evidence) -> tuple[float, float]:
    """Mean entropy in bits of the judge's tokens within a sample (Zheng et al. 2024): low where
    samples repeat themselves."""
    return _mean(evidence.judged.entropy)


def _mean(values: torch.Tensor) -> tuple[float, float]:
    """Mean over examples and its standard error."""
    values = values.double()
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
