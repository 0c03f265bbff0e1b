"""One line for what a command got wrong."""

import re
import sys
from contextlib import suppress

from aigc.core.errors import nearest
from aigc.lab.choices import choices, samplers_of
from aigc.lab.conf import compose, with_run
from aigc.runs import NotARun, RunDir


def explain(error: BaseException, words: list[str]) -> str | None:
    """One line for an error of Hydra or OmegaConf; None for anything that is not the user's."""
    if isinstance(error, OSError) and not hasattr(error, "missing_cfg_file"):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if "hydra" not in sys.modules:
        return None
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    if (name := getattr(error, "missing_cfg_file", None)) and getattr(error, "options", None):
        group, _, choice = str(name).rpartition("/")
        known = (group == "sampler" and _samplers(words)) or error.options
        hint = nearest(choice, known)
        return f"unknown {group} '{choice}': choose from {', '.join(sorted(known))}{hint}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if key := re.match(r"Could not override '([\w.@/]+)'", lines[0]):
        return unknown_setting(key[1], words) or "; ".join(lines)
    if broken := getattr(error, "override", None):
        if "=" not in broken:
            return f"cannot read '{broken}': settings are written name=value"
        return f"cannot read '{broken}': quote lists, spaces and special characters"
    if missing := re.search(r"Could not load '([\w/]+)/(\w+)'", lines[0]):
        known = choices().get(missing[1], [])
        hint = nearest(missing[2], known)
        return f"unknown {missing[1]} '{missing[2]}': choose from {', '.join(known)}{hint}"
    if error.__cause__ is not None:
        lines = [lines[0], str(error.__cause__).splitlines()[0]]
    return ": ".join(line.rstrip(".") for line in lines[:2])


def _samplers(words: list[str]) -> list[str]:
    """Those that fit the run of the command; none where it names no run."""
    for word in words:
        if word.startswith("run="):
            with suppress(NotARun):
                return samplers_of(RunDir.finished(word[4:].strip("'\"")).config["model"]["name"])
    return []


def unknown_setting(key: str, words: list[str]) -> str | None:
    """The error for a key that is not in the configuration, with the keys that are."""
    parent, _, leaf = key.rpartition(".")
    others = [w for w in words[1:] if "=" in w and w[0] != "-" and not w.startswith(key)]
    task = "train" if words[0] == "demo" else words[0]
    try:
        alone = task in ("train", "inspect", "robustness")
        node = compose(task, others if alone else with_run(others))
        for part in parent.split(".") if parent else []:
            node = node[part]
    except Exception:  # whatever else is wrong with the words, this error is not the place for it
        return None
    inside = f" in '{parent}'" if parent else ""
    return f"unknown setting '{leaf}'{inside}: choose from {', '.join(node)}{nearest(leaf, node)}"
