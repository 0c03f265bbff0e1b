"""A run on disk: a folder named by a hash of what can change its result.

    runs/<study>/<signature>/
        config.yaml  env.json  status.json  log.csv  codec/  checkpoints/
        events.jsonl  samples/  results.jsonl  references.jsonl

Reading and writing it needs neither torch nor Hydra.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

# What may differ between two commands of one and the same run.
FREE = {"study", "logger", "sampler", "plugins", "hydra", "resume"}
FREE_TRAINER = {"workers", "where", "log_points", "preview", "save_every", "requeue"}
LATER = ("imbalance", "limit", "skip")  # settings of any data set that older runs do not have
LATER_TRAINER = ("oom", "parts")
SECRET = re.compile(
    r"((?:^|[._\s])(?:api_?key|token|secret|passw(?:or)?d|credentials?))(=\S+)?", re.I
)
KEY = ("metric", "extractor", "sampler", "nfe", "seed", "protocol")  # what makes a row that row


class NotARun(ValueError):
    """A path that should be the folder of a finished run and is not."""


def runs_root() -> Path:
    """Where runs live: `AIGC_RUNS`, default `./runs`."""
    return Path(os.environ.get("AIGC_RUNS", "runs"))


def signature(config: dict[str, Any]) -> str:
    """The run's name: family, data set and seed to read, a hash of the rest to be sure.

    Other runs (a first stage, one to start from) count by their names, wherever they lie.
    """
    kept = {key: value for key, value in switched_on(config).items() if key not in FREE}
    for key in ("run", "init"):
        if key in kept:
            kept[key] = Path(kept[key]).resolve().name
    free = FREE_TRAINER | {k for k in LATER_TRAINER if config["trainer"].get(k) is None}
    kept["trainer"] = {k: v for k, v in config["trainer"].items() if k not in free}
    kept["budget"] = {k: v for k, v in kept["budget"].items() if k != "samples"}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
    return f"{config['model']['name']}-{config['dataset']['name']}-s{config['seed']}-{digest[:8]}"


def switched_on(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the settings that are null because they are off: a new one must not
    rename old runs, nor set them apart."""
    kept = {key: value for key, value in config.items() if value is not None}
    dataset, budget = kept["dataset"].items(), dict(kept["budget"])
    if budget.get("amount") is None:  # a budget of examples
        budget.pop("by", None), budget.pop("amount", None)
    kept["budget"] = budget
    return kept | {"dataset": {k: v for k, v in dataset if k not in LATER or v is not None}}


def paid(config: dict[str, Any]) -> str:
    """What sets the protocol of a run apart from that of runs by examples: nothing, or what was
    matched."""
    budget = config["budget"]
    if budget.get("by", "examples") == "examples":
        return ""
    units = {"seconds": "s of training", "flops": "training FLOPs", "params": "parameters"}
    return f"matched {budget['amount']:g} {units[budget['by']]}"


class _Plain(yaml.SafeLoader):
    """YAML without aliases, which no run writes and a kilobyte of which can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no run writes")
        return super().compose_node(parent, index)


class RunDir:
    """One run's folder."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def of(cls, config: dict[str, Any]) -> "RunDir":
        """The folder of this configuration, existing or not."""
        return cls(runs_root() / config["study"] / signature(config))

    @classmethod
    def finished(cls, path: str | Path) -> "RunDir":
        """The folder at `path`; raises NotARun unless a run has finished there."""
        run = cls(path)
        if not (run / "config.yaml").is_file():
            raise NotARun(f"{path} is not a run folder: it has no config.yaml{_hint(run.path)}")
        if not run.is_done:
            raise NotARun(f"{path}: the run is {run.status['state']}, not done: train it again")
        run.check_links()
        return run

    @classmethod
    def below(cls, path: str | Path) -> list["RunDir"]:
        """Runs in a study, or in a folder of studies, by name; finished or not. What runs keep of
        their first stages does not count."""
        depths = "*/config.yaml", "*/*/config.yaml"
        found = sorted(p.parent for d in depths for p in Path(path).glob(d))
        return [cls(folder) for folder in found if folder.name != "view"]

    @property
    def status(self) -> dict[str, Any]:
        """`state` is new, running, failed or done; with times and a reason where there is one."""
        try:
            status = json.loads((self / "status.json").read_text())
        except (OSError, ValueError):
            return {"state": "new"}
        return status if isinstance(status, dict) and "state" in status else {"state": "new"}

    @property
    def is_done(self) -> bool:
        """Whether training has finished."""
        return self.status["state"] == "done"

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        try:
            text = (self / "config.yaml").read_text()
            config = yaml.load(text, _Plain)
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
            raise NotARun(f"{self / 'config.yaml'} cannot be read: {error}") from error
        if not isinstance(config, dict):
            raise NotARun(f"{self / 'config.yaml'} is not the configuration of a run")
        if "${" in text:  # a run writes values; this could read our environment
            raise NotARun(f"{self / 'config.yaml'} holds an interpolation, which no run writes")
        return config

    @property
    def state(self) -> str:
        """new, running, failed or done; stale where nothing trains a run that says it does."""
        state = self.status["state"]
        if state != "running":
            return state
        try:
            with self.held():
                return "stale"
        except NotARun:
            return "running"

    def check_links(self) -> None:
        """Raise NotARun where a link leads out of the folder: what is written or removed here would
        be so there. Inside `wandb`, whose links these are, nothing is."""
        root = self.path.resolve()
        for path in self.path.rglob("*"):
            own = self / "wandb" not in path.parents
            if own and path.is_symlink() and not path.resolve().is_relative_to(root):
                raise NotARun(f"{path} leads out of the run's folder, to {path.resolve()}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second process from training this run; raises NotARun when one does already."""
        import fcntl

        study, name = self.path.parts[-2:]
        path = self.path.parents[1] / ".locks" / f"{study}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise NotARun(f"{self} is being trained by {file.read()}") from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield

    def start(self, config: dict[str, Any], env: dict[str, Any]) -> None:
        """Begin afresh: what an unfinished attempt left is removed, but never results."""
        if (self / "results.jsonl").exists():
            raise NotARun(f"{self} holds results and no readable status.json: move it away first")
        if self.path.exists():
            shutil.rmtree(self.path)
        (self / "checkpoints").mkdir(parents=True)
        self.mark("running")
        write_atomic(self / "config.yaml", yaml.safe_dump(redacted(config), sort_keys=False))
        write_atomic(self / "env.json", json.dumps(redacted(env), indent=1))

    def go_on(self) -> None:
        """Take up an unfinished attempt where it is."""
        if (self / "results.jsonl").exists():
            raise NotARun(f"{self} holds results and no readable status.json: move it away first")
        self.check_links()
        kept = {k: v for k, v in self.status.items() if not k.startswith(("failed", "reason"))}
        status = {**kept, "state": "running", "running_at": time.time()}
        write_atomic(self / "status.json", json.dumps(status, indent=1))

    def event(self, event: str, **facts: Any) -> None:
        """Note what happened to the run in `events.jsonl`; a note that cannot be written ends no
        run."""
        row = {"at": round(time.time(), 3), "event": event, **facts}
        with suppress(OSError), (self / "events.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def mark(self, state: str, **facts: Any) -> None:
        """Set the state, keeping facts of earlier states."""
        facts = {f"{state}_at": time.time(), **self.status, **facts, "state": state}
        write_atomic(self / "status.json", json.dumps(facts, indent=1))

    def rows(self, name: str = "results.jsonl") -> list[dict[str, Any]]:
        """The rows of a table, one JSON object a line; empty when it is not there."""
        try:
            lines = (self / name).read_text().splitlines()
        except FileNotFoundError:
            return []
        try:
            return [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise NotARun(f"{self / name} holds a line that is no row: {error}") from error

    def add_rows(self, rows: list[dict[str, Any]], name: str = "results.jsonl") -> None:
        """Add rows; one of the same metric, protocol, sampler and seed replaces the old."""
        table = {_key(row): row for row in [*self.rows(name), *rows]}
        text = "".join(json.dumps(row) + "\n" for row in table.values())
        write_atomic(self / name, text)


def redacted(value: Any, name: str = "") -> Any:
    """`value` without what is written under a name like api_key, token or password, be it a setting
    or a word of a command."""
    if isinstance(value, dict):
        return {k: redacted(v, str(k)) for k, v in value.items()}
    if isinstance(value, list):
        return [redacted(v, name) for v in value]
    if isinstance(value, str) and (found := SECRET.search(name)) and found.end() == len(name):
        return "[redacted]"
    if isinstance(value, str) and name == "command":
        return SECRET.sub(lambda m: m[1] + "=[redacted]" if m[2] else m[0], value)
    return value


def shown_folder(sampler: str, seed: int) -> str:
    """How the folder of judged samples begins: the strategy's name and a hash of its settings."""
    digest = hashlib.sha256(sampler.encode()).hexdigest()[:6]
    return f"evaluated-{sampler.split()[0]}-{digest}-s{seed}"


def cache_root() -> Path:
    """Where prepared data live: `AIGC_CACHE`, default `~/.cache/aigc`."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("AIGC_CACHE", Path(base) / "aigc"))


def write_atomic(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _key(row: dict[str, Any]) -> tuple:
    return (row.get("of", "model"), *(json.dumps(row.get(name)) for name in KEY))


def _hint(path: Path) -> str:
    """Runs below a path that is not one, or a run beside it with a name that is close."""
    from difflib import get_close_matches

    if inside := RunDir.below(path):
        return f"; it holds runs, such as {inside[0]}"
    beside = [p.parent.name for p in path.parent.glob("*/config.yaml")]
    close = get_close_matches(path.name, beside, n=1, cutoff=0.5)
    return f"; did you mean {path.parent / close[0]}?" if close else ""
