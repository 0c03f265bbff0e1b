"""What a search minimises, read from a run's own files."""

from aigc.lab.sweeps.table import measured, series
from aigc.runs import RunDir


class Missing(ValueError):
    """A run has no such value."""


def value(run: RunDir, name: str) -> float:
    """`name` of a finished run: the best of a series of its log for `val/loss` and `val/fd`, the
    last one of any other, a metric of its results, or a fact of its status; `seconds` are those
    of training."""
    if name == "seconds":
        name = "train_seconds"
    found = measured(run)
    if name in found:
        return found[name]
    if rows := series(run, name):
        return rows[-1][1]
    if metric := next((key for key in found if key.split("@")[0] == name), None):
        return found[metric]
    fact = run.status.get(name)
    if isinstance(fact, int | float):
        return float(fact)
    known = ", ".join([*found, "seconds", "parameters"])
    hint = "" if run.rows() else "; metrics need hydra.launcher.evaluate=true"
    raise Missing(f"the run has no '{name}': it has {known}{hint}")
