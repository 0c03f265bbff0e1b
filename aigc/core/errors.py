"""Errors that are the user's to mend: one clear line, exit code 2, no traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(ValueError):
    """What is wrong, where, and what is allowed, in one line."""


class SweepFailed(Exception):
    """Cells of a sweep did not come to their end: exit code 1."""


def nearest(name: str, options: Iterable[str]) -> str:
    """`; did you mean X?` when something in `options` is close to `name`, else nothing."""
    close = get_close_matches(str(name), list(options), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown(kind: str, name: str, options: Iterable[str]) -> BadInput:
    """The error for a name that is not among the allowed ones."""
    options = sorted(options)
    return BadInput(
        f"unknown {kind} '{name}': choose from {', '.join(options)}{nearest(name, options)}"
    )
