"""`pytest -m fault` as rows of `faults.json`: what was injected, how often, and what was lost.

A test marked `fault(id)` is one try, survived when it passes; `tried(...)` says more. A second
argument of the mark names a class of malicious input, which is counted as tried and accepted.
"""

import json
import time
from pathlib import Path
from typing import Any

import pytest

FAULTS = {
    1: "SIGKILL at random times",
    2: "SIGKILL at random times, TMPDIR on another file system",
    3: "disk full while a checkpoint is saved",
    4: "newest checkpoint cut short or empty",
    5: "one bit flipped in the newest checkpoint",
    6: "named or best checkpoint damaged",
    7: "SIGTERM or Ctrl-C in training",
    8: "resume at every batch of two epochs",
    9: "resume with workers 0 and 2, validation, accumulation",
    10: "resume under two processes, and on another number of them",
    11: "GAN: resume at odd intervals, budget in batches",
    12: "one batch of NaN",
    13: "endless NaN",
    14: "logger raises always, its server is away",
    15: "disk full under the log",
    16: "a rank is killed, raises or stalls",
    17: "a data worker is killed, hangs or is stopped",
    18: "out of memory in a step and in a validation",
    19: "a second run in the same folder, a stale lock",
    20: "folder not writable, no room, data missing or changed",
    21: "damaged pictures, sounds, texts and tables",
    22: "malicious checkpoints, arrays, pickles, archives, links",
    23: "malicious configuration of a run",
    24: "bombs of pixels, bytes and tokens",
    25: "sweep with random signals, full disks and broken loggers",
}


class Recorder:
    """Collects entries of marked tests and merges them into a file, one a test and seed."""

    def __init__(self, path: Path):
        self.path, self.entries = path, []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        given = dict(report.user_properties)
        if "fault" not in given or not (report.when == "call" or report.failed):
            return
        more = {"tries": 1, "survived": 1, "lost_steps": 0, "lost_rows": 0} | given.get("tried", {})
        if report.failed:
            more["survived"] = min(more["survived"], more["tries"] - 1)
        seconds = round(report.duration, 2)
        for id, *kind in given["fault"]:
            entry = {"id": id, "test": report.nodeid, **more, "seconds": seconds}
            self.entries.append(entry | ({"class": kind[0]} if kind else {}))

    def pytest_sessionfinish(self) -> None:
        if not self.entries:
            return
        old = json.loads(self.path.read_text())["entries"] if self.path.exists() else []
        merged = {(e["id"], e["test"], e.get("seed")): e for e in [*old, *self.entries]}
        entries = sorted(merged.values(), key=lambda e: (e["id"], e["test"], str(e.get("seed"))))
        tables = {"rows": rows(entries), "inputs": inputs(entries), "entries": entries}
        self.path.write_text(json.dumps(tables, indent=1) + "\n")


def rows(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a fault: tries, rows and seconds are sums, steps the most that one try lost."""
    out = []
    for id, fault in FAULTS.items():
        own = [e for e in entries if e["id"] == id]
        row = {"id": id, "fault": fault}
        row |= {key: sum(e[key] for e in own) for key in ("tries", "survived")}
        row["lost_steps"] = max((e["lost_steps"] for e in own), default=0)
        row["lost_rows"] = sum(e["lost_rows"] for e in own)
        out.append(row | {"seconds": round(sum(e["seconds"] for e in own), 1)})
    return out


def inputs(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Malicious inputs by class: how many were tried, how many had an effect."""
    kinds = sorted({e["class"] for e in entries if "class" in e})
    out = []
    for kind in kinds:
        own = [e for e in entries if e.get("class") == kind]
        tried = sum(e["tries"] for e in own)
        out.append({"class": kind, "tried": tried, "accepted": tried - survived(own)})
    return out


def survived(entries: list[dict[str, Any]]) -> int:
    """How many tries did no harm."""
    return sum(e["survived"] for e in entries)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the long form."""
    group = parser.getgroup("faults")
    group.addoption("--kills", type=int, default=4, help="random kills a family")
    group.addoption("--soak", type=int, default=1, help="runs a family under random faults")
    group.addoption("--fault-seed", type=int, default=None, help="of the random faults")
    group.addoption("--faults", default=None, help="file of the rows (faults.json)")


def pytest_configure(config: pytest.Config) -> None:
    """Record where the fault tests are what is asked for."""
    chosen = config.getoption("markexpr", "")
    if config.getoption("--faults") or ("fault" in chosen and "not fault" not in chosen):
        path = Path(config.getoption("--faults") or "faults.json")
        if not hasattr(config, "workerinput"):  # the controller of xdist hears all reports
            config.pluginmanager.register(Recorder(path))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What the marks of a test say goes with its report."""
    if marks := [list(mark.args) for mark in item.iter_markers("fault")]:
        item.user_properties.append(("fault", marks))


@pytest.fixture
def tried(record_property: Any) -> Any:
    """`tried(tries=.., survived=.., lost_steps=.., lost_rows=.., seed=..)`: more than one try."""
    return lambda **facts: record_property("tried", facts)


@pytest.fixture
def fault_seed(request: pytest.FixtureRequest) -> int:
    """Printed when a test fails; by the clock in the long form."""
    given = request.config.getoption("--fault-seed")
    long = request.config.getoption("--kills") > 4 or request.config.getoption("--soak") > 1
    seed = given if given is not None else int(time.time()) if long else 0
    print(f"--fault-seed {seed}")
    return seed
