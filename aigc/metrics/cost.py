"""What a model costs; measured by who runs it and passed in `Evidence.cost`."""

from aigc.metrics.registry import Evidence, metric


def _cost(name: str, better: str, about: str) -> None:
    def value(evidence: Evidence) -> float:
        return evidence.cost[name]

    value.__doc__ = about
    metric(name, needs={name}, better=better, axis="cost")(value)


_cost(
    "samples_per_second",
    "high",
    "Generated examples a second, after a warm-up, at the given batch.",
)
_cost("nfe", "low", "Network evaluations for one sample, counted by a hook.")
_cost("parameters", "low", "Trained parameters, helpers (encoder, critic) included.")
_cost("train_seconds", "low", "Seconds of training, validation left out.")
