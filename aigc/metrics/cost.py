"""What a model costs; measured by who runs it and passed in `Evidence.cost`."""

from typing import Any

from aigc.metrics.registry import Evidence, metric


def _cost(name: str, better: str, about: str, **facts: Any) -> None:
    def value(evidence: Evidence) -> float:
        return evidence.cost[name]

    value.__doc__ = about
    facts = {"needs": {name}, "axis": "cost", "stat": "count", **facts}
    metric(name, better=better, **facts)(value)


_cost(
    "samples_per_second",
    "high",
    "Generated examples a second, after a warm-up, at the given batch.",
)
_cost("nfe", "low", "Network evaluations for one sample, counted by a hook.")
_cost("parameters", "low", "Trained parameters, helpers (encoder, critic) included.")
_cost("train_seconds", "low", "Seconds of training, validation left out.")
_cost(
    "latency_ms",
    "low",
    "Milliseconds for a batch of one: median of five after two warm-ups.",
    cost="model",
    shown=False,
)
_cost(
    "peak_mb",
    "low",
    "Most memory while sampling at the given batch, in MB: what a GPU allocates; on a CPU that of "
    "the whole process, libraries included.",
    cost="model",
    shown=False,
)
_cost(
    "train_flops",
    "low",
    "Floating point operations of training (a multiplication and an addition are two), counted on "
    "one batch and multiplied; validation left out.",
    cost="model",
    shown=False,
)
_cost(
    "energy_j",
    "low",
    "Joules of the GPU for one sample at the given batch, where it counts them.",
    cost="model",
    shown=False,
)
