"""The cells of a sweep: each is one command, and the run that it makes is its name."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aigc.runs import RunDir

HOPELESS = ("FloatingPointError", "BadInput", "NotARun")  # the same command fails the same way


@dataclass
class Cell:
    """What one command of a sweep asks for, and how far it has come.

    `words` are its overrides, `flags` what else its command has (`--config-dir`), `labels` what of
    it is swept, as written. `state` is waiting, running, judging, done, failed, pruned or stopped.
    """

    words: list[str]
    config: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    state: str = "waiting"
    reason: str = ""
    tries: int = 0
    seconds: float = 0.0
    listed: bool = False  # in the study's record
    began: float = 0.0  # of the last command, by the clock on the wall

    @cached_property
    def run(self) -> RunDir:
        """The folder of the run, existing or not."""
        return RunDir.of(self.config)

    @cached_property
    def name(self) -> str:
        """The run's signature."""
        return self.run.path.name

    @property
    def title(self) -> str:
        """`model=vae seed=0`."""
        return titled(self.labels) or self.name

    @property
    def processes(self) -> int | str:
        """How many processes train it on a machine; `auto` is as many as there are devices."""
        devices = self.config["strategy"]["devices"]
        return len(devices) if isinstance(devices, list) else devices

    @property
    def log(self) -> Path:
        """Where its commands write what they would have said."""
        return self.run.path.parent / ".sweep" / "logs" / f"{self.name}.log"

    def command(self) -> list[str]:
        """`train` and its words, flags before them."""
        return ["train", *self.flags, *self.words]

    def judged_by(self, words: list[str]) -> list[str]:
        """`evaluate` of its run with some more words."""
        return ["evaluate", *self.flags, f"run={self.run}", *words]

    @property
    def done(self) -> float:
        """The share of the budget that its log has seen, 0 to 1."""
        if self.state == "done" or self.run.is_done:
            return 1.0
        last = tail(self.run / "log.csv")
        seen = last[-1].split(",")[0] if last else ""
        planned = self.run.status.get("budget", self.config["budget"])["examples"]
        return min(1.0, int(seen) / planned) if seen.isdigit() else 0.0

    @property
    def latest(self) -> str:
        """The newest loss in its log, `val/loss 1.23`."""
        rows = [line.split(",") for line in tail(self.run / "log.csv")]
        named = {row[2]: row[3] for row in rows if len(row) == 4}
        for name in ("val/loss", "val/fd", "train/loss", "train/generator"):
            if name in named:
                return f"{name} {float(named[name]):.4g}"
        return ""

    def why(self, code: int | None) -> str:
        """One line about how its command failed, from the run or else from the end of the log."""
        status = self.run.status
        if status["state"] == "failed" and status.get("failed_at", 0) >= self.began:
            return status["reason"]
        said = [line for line in tail(self.log) if line.strip() and not line.startswith("--- ")]
        told = [line.removeprefix("aigc: ") for line in said if line.startswith("aigc: ")]
        ended = f"exit code {code}" if code is None or code >= 0 else f"killed by signal {-code}"
        return (told or said or [ended])[-1].strip()[:300]


def titled(labels: dict[str, str]) -> str:
    """`model=vae optimizer.lr=0.00443`: drawn numbers by a few digits."""
    return " ".join(f"{key}={_short(value)}" for key, value in labels.items())


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}" if len(value) > 8 else value
    except ValueError:
        return value


def tail(path: Path, size: int = 4096) -> list[str]:
    """The last lines of a file, whole ones; none where there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = text[: text.rfind("\n") + 1].splitlines()
    return lines[1:] if end > size else lines


def labels_of(overrides: list[list[str]]) -> list[dict[str, str]]:
    """What differs between commands: `{key: value}` for each of them."""
    split = [dict(word.split("=", 1) for word in words if "=" in word) for words in overrides]
    keys = {key: None for words in split for key in words}
    swept = [key for key in keys if len({words.get(key) for words in split}) > 1]
    return [{key: words[key] for key in swept if key in words} for words in split]
