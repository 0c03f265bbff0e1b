"""Finished, judged runs as plain records; reads run folders and nothing else."""

import csv
import json
import sys
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

from aigc.core.errors import BadInput
from aigc.runs import NotARun, RunDir

REFERENCES = ("real", "gaussian", "marginals", "smote", "copies")


@dataclass(frozen=True)
class Record:
    """One run with its results."""

    dir: RunDir

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return self.dir.config

    @cached_property
    def env(self) -> dict[str, Any]:
        """Command, commit, versions and machine of its training."""
        return json.loads((self.dir / "env.json").read_text())

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Results of the model over all classes."""
        return [row for row in self.dir.rows() if row.get("class") is None]

    @cached_property
    def class_rows(self) -> list[dict[str, Any]]:
        """Results of single classes, from `aigc evaluate by_class=true`."""
        return [row for row in self.dir.rows() if row.get("class") is not None]

    @cached_property
    def references(self) -> list[dict[str, Any]]:
        """Results of the reference rows over all classes."""
        return [row for row in self.dir.rows("references.jsonl") if row.get("class") is None]

    @property
    def alarm(self) -> str:
        """What the health of its training gave cause to say, else nothing."""
        told = self.dir.status.get("alarm")
        return f"seed {self.config['seed']} {told}" if told else ""

    @property
    def family(self) -> str:
        """`autoregressive`, `diffusion`, `vae`, `gan` or a family of the user's."""
        return self.config["model"]["name"]

    @property
    def modality(self) -> str:
        """`image`, `text`, `audio` or `tabular`."""
        return self.config["modality"]["name"]

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.config["dataset"]["name"]

    def value(self, metric: str, extractor: str = "", sampler: str = "") -> float:
        """The one value of a metric, on the extractor whose name starts so, and by the sampler
        whose description holds all of these words. Raises NotARun unless it is there, once."""
        found = [
            row["value"]
            for row in self.rows
            if row["metric"] == metric
            and (row["extractor"] or "").startswith(extractor)
            and set(sampler.split()) <= set((row["sampler"] or "").split())
        ]
        if len(found) != 1 or found[0] is None:
            asked = " ".join(filter(None, (metric, extractor, sampler)))
            raise NotARun(f"{self.dir}: {len(found)} values of {asked}, not one: {found}")
        return found[0]

    def log(self) -> dict[str, list[tuple[float, float, float]]]:
        """Learning curves: for each logged name, `(examples, seconds, value)` in order."""
        curves: dict[str, list[tuple[float, float, float]]] = {}
        with (self.dir / "log.csv").open() as file:
            for row in csv.DictReader(file):
                point = float(row["examples"]), float(row["seconds"]), float(row["value"])
                curves.setdefault(row["name"], []).append(point)
        return curves

    def folder(self, prefix: str) -> Path | None:
        """The newest folder of samples whose name starts with `prefix`."""
        found = sorted((self.dir / "samples").glob(f"{prefix}*"), key=lambda p: p.stat().st_mtime)
        return found[-1] if found else None


def collect(paths: list[str]) -> list[Record]:
    """Records of run folders, of the runs in studies, or of folders of studies; a path may be a
    pattern with `*`.

    Raises NotARun for a path that is none of these and BadInput when a run has no results yet.
    """
    folders: list[Path] = []
    for path in (Path(p) for text in paths for p in sorted(glob(text)) or [text]):
        inside = RunDir.below(path)
        if (path / "config.yaml").is_file() or not inside:
            folders.append(RunDir.finished(path).path)
        else:
            folders += [run.path for run in inside if run.is_done]
    records = [Record(RunDir(folder)) for folder in dict.fromkeys(folders)]
    if not records:
        raise NotARun(f"no finished run in {', '.join(paths)}")
    judged = [record for record in records if record.rows]
    if not judged:
        raise BadInput(
            f"{records[0].dir} has no results yet: run `aigc evaluate run={records[0].dir}`"
        )
    for record in records:
        if not record.rows:
            print(f"left out, not judged yet: aigc evaluate run={record.dir}", file=sys.stderr)
    return judged
