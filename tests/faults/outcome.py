"""What a run that was hurt must be equal to, and what of its folder must be whole at any time."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from forked import SIZE, Server, done

from aigc.lab.conf import compose
from aigc.lab.verify import faults_of
from aigc.runs import RunDir

TIMED = ("samples_per_second", "train_seconds")  # metrics of the clock, not of the run


def folder(words: list[str]) -> RunDir:
    """The folder of the run that `words` train."""
    return RunDir.of(compose("train", words))


def log(run: RunDir) -> list[tuple]:
    """The training log without its clock."""
    rows = csv.DictReader((run / "log.csv").open())
    return [(r["examples"], r["name"], r["value"]) for r in rows]


def results(run: RunDir) -> list[dict[str, Any]]:
    """The rows of results without what a clock says."""
    rows = [row for row in run.rows() if row["metric"] not in TIMED]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def lost_rows(run: RunDir, whole: RunDir) -> int:
    """Rows of the log that are missing or others than in a run that was not hurt."""
    one, other = log(run), log(whole)
    return sum(a != b for a, b in zip(one, other)) + abs(len(one) - len(other))


def same(run: RunDir, whole: RunDir) -> bool:
    """Whether weights, log, samples and results equal those of a run that was not hurt, to the
    bit."""
    equal = run.status["weights"] == whole.status["weights"] and log(run) == log(whole)
    return equal and results(run) == results(whole) and samples(run) == samples(whole)


def samples(run: RunDir) -> dict[str, bytes]:
    """The bytes of all judged samples."""
    files = sorted((run / "samples").glob("evaluated-*/ids.npz"))
    return {f.parent.name: np.load(f)["ids"].tobytes() for f in files}


def damage(run: RunDir) -> Iterator[str]:
    """What a reader of the folder would find broken, now."""
    if not (run / "config.yaml").exists():  # not begun
        return
    yield from faults_of(run)
    json.loads((run / "status.json").read_text())
    if (run / "log.csv").exists():
        lines = (run / "log.csv").read_text().splitlines()
        yield from (f"log.csv: {line}" for line in lines if line.count(",") != 3)


def litter(run: RunDir) -> list[str]:
    """Files that killed writers have left, and states that nothing needs."""
    pattern = re.compile(r"^\..*|.*\.ckpt$|.*\.part.*")
    return [f.name for f in run.path.rglob("*") if f.is_file() and pattern.match(f.name)]


class Attempts:
    """One run, started until it is done; `harm` starts it hurt and gives its exit code.

    `deaths` are the attempts that ended a run that had begun, `lost` the most batches that one of
    them lost, `damage` what readers would have found broken.
    """

    def __init__(self, server: Server, words: list[str], out: Path):
        self.server, self.words, self.out = server, words, out
        self.run = folder(words)
        self.deaths, self.lost, self.damage = 0, 0, []

    def until_done(self, harm: Callable[["Attempts"], int | None], limit: int = 60) -> None:
        """Try again until the run is done."""
        for _ in range(limit):
            saved = self._saved()
            code = harm(self)
            if self.run.status["state"] == "done":
                break
            self.damage += damage(self.run)
            if (self.run / "config.yaml").exists():
                self.deaths += 1
                reached = done(self.out)
                self.lost = max(self.lost, (saved if reached is None else reached) - self._saved())
            else:
                assert code, self.out.read_text()
        assert self.run.is_done, self.out.read_text()
        code, text = self.server.run(["train", *self.words], self.out)
        assert code == 0 and "already trained" in text, text

    @property
    def judging(self) -> list[str]:
        """The words that judge the run."""
        return ["evaluate", f"run={self.run}", "extractors=[pca]"]

    def judge(self) -> None:
        """Add the rows of results."""
        code, text = self.server.run(self.judging, self.out)
        assert code == 0, text

    def _saved(self) -> int:
        states = sorted((self.run / "checkpoints").glob("last-*.ckpt"))
        return int(states[-1].stem.split("-")[1]) // SIZE if states else 0
