"""`aigc figure`: a study trains what is missing, draws, and holds what it finds against a paper.

A study is a folder of `experiments/` with a README, `expected.json` (paper, claim, cost, `runs`:
words for `aigc train -m` by name, `evaluate`: a list of words for `aigc evaluate`, swept likewise,
or such a list by name of runs, `smoke` and `paper`: words to add at those budgets, and the claims
of `aigc.analysis.verdict`)
and `figures.py` with `measure(study) -> values` and `draw(study, values) -> Figure`.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

from aigc.analysis.load import Record
from aigc.analysis.verdict import Verdict, judge, markdown, rows
from aigc.core.errors import BadInput, unknown
from aigc.runs import runs_root, write_atomic

BUDGETS = ("smoke", "small", "paper")


@dataclass(frozen=True)
class Study:
    """One study at one budget; `runs` holds the records of its finished runs by name."""

    folder: Path
    budget: str = "small"
    runs: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`expected.json`."""
        return json.loads((self.folder / "expected.json").read_text())

    @cached_property
    def code(self) -> ModuleType:
        """`figures.py`, which may import its neighbours."""
        spec = spec_from_file_location(f"aigc_study_{self.name}", self.folder / "figures.py")
        module = module_from_spec(spec)
        sys.path.insert(0, str(self.folder))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(self.folder))
        return module

    @property
    def results(self) -> Path:
        """Beside the study where that is a clone's and the budget is not smoke, else with the
        runs."""
        if self.budget != "smoke" and (self.folder.parents[1] / "pyproject.toml").is_file():
            return self.folder / ("results" if self.budget == "small" else "results_paper")
        return runs_root() / "figures" / f"{self.name}_{self.budget}"

    @property
    def figure(self) -> Path:
        """The picture that `make` draws."""
        return self.results / "figure.png"

    @property
    def status(self) -> str:
        """`3 of 4 hold, 2026-11-24`, from the newest results."""
        try:
            done = json.loads((self.results / "verdict.json").read_text())
        except FileNotFoundError:
            return "not made"
        held = sum(claim["verdict"] != "does not hold" for claim in done["claims"])
        return f"{held} of {len(done['claims'])} hold, {done['date']}"

    def cells(self, name: str) -> list[list[str]]:
        """The overrides of each run of a line of `runs`, swept values multiplied out."""
        study = self.name if self.budget == "small" else f"{self.name}_{self.budget}"
        line = self.facts["runs"][name]
        for other, records in self.runs.items():  # {first}: the folder of another line's first run
            line = line.replace(f"{{{other}}}", str(records[0].dir))
        return expand(f"study={study} {line} {self.facts.get(self.budget, '')}")

    def train(self) -> None:
        """What is missing, and its rows."""
        from aigc.lab.api import train

        for name in self.facts.get("runs", {}):
            cells, self.runs[name] = self.cells(name), []
            lines = self.facts["evaluate"]
            lines = lines.get(name, []) if isinstance(lines, dict) else lines
            for i, words in enumerate(cells, 1):
                note(f"{self.name}: {name} {i}/{len(cells)}")
                run = train(*words)
                for line in lines:
                    for settings in expand(line):
                        judge_once(run, settings)
                self.runs[name].append(Record(run.dir))

    def make(self) -> list[Verdict]:
        """Train, measure, draw, judge, and write `results/`."""
        from aigc.analysis.figures import INK, plt, style

        start = time.perf_counter()
        self.train()
        self.results.mkdir(parents=True, exist_ok=True)
        found = self.code.measure(self)
        verdicts = judge(self.facts["claims"], found)
        with style(INK["light"]):
            figure = self.code.draw(self, found)
            for kind in ("png", "pdf"):
                place = self.results / f"figure.{kind}"
                figure.savefig(place, dpi=130, facecolor="white", metadata=DATELESS[kind])
            plt.close(figure)
        write_atomic(self.results / "verdict.md", markdown(verdicts))
        facts = {
            "study": self.name,
            "budget": self.budget,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.perf_counter() - start, 1),
            **machine(),
            "claims": rows(verdicts),
            "values": found,
        }
        write_atomic(self.results / "verdict.json", json.dumps(facts, indent=1, default=float))
        return verdicts


def expand(line: str) -> list[list[str]]:
    """Words as after `aigc train -m` to the overrides of each cell; of two for one setting the
    later counts."""
    words = dict(word.split("=", 1) for word in line.split())
    swept = [value.split(",") if value[:1] != "[" else [value] for value in words.values()]
    return [[f"{k}={v}" for k, v in zip(words, values)] for values in product(*swept)]


def judge_once(run: Any, words: list[str]) -> None:
    """Evaluate unless there are rows of that sampler and seed with all metrics that are named."""
    from aigc.lab.api import evaluate
    from aigc.lab.conf import compose, describe, run_words

    both = [f"run={run.dir}", *run_words(run.dir.config, words), *words]
    config = compose("evaluate", both)
    wanted = describe(config["sampler"]), config["seed"]
    there = {r["metric"] for r in run.dir.rows() if (r.get("sampler"), r.get("seed")) == wanted}
    named = set(config["metrics"] if isinstance(config["metrics"], list) else [])
    if not there or not named <= there:
        evaluate(run, *words)


DATELESS = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


def experiments_dir() -> Path:
    """In the wheel, else in the checkout."""
    here = Path(__file__).resolve().parents[1]
    inside = here / "experiments"
    return inside if inside.is_dir() else here.parent / "experiments"


def studies(budget: str = "small") -> dict[str, Study]:
    """Every study by name."""
    files = sorted(experiments_dir().glob("*/expected.json"))
    return {f.parent.name: Study(f.parent, budget) for f in files}


def machine() -> dict[str, Any]:
    """Where the seconds were counted."""
    import platform

    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    device = gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return {"device": device, "torch": torch.__version__.split("+")[0]}


def main(words: list[str]) -> None:
    """List the studies, make one, or make all of them."""
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    names = [word for word in words if "=" not in word]
    if wrong := settings.keys() - {"budget"}:
        raise unknown("setting of `aigc figure`", wrong.pop(), ["budget"])
    if (budget := settings.get("budget", "small")) not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    known = studies(budget)
    for name in names:
        if name not in (*known, "all"):
            raise unknown("study", name, [*known, "all"])
    if not names:
        if settings:
            raise BadInput("say which study: aigc figure NAME budget=..; `aigc figure` lists them")
        return overview(known)
    chosen = known if "all" in names else {name: known[name] for name in names}
    broken = [name for name, study in chosen.items() if not report(study)]
    if broken:
        print(f"exact claims that do not hold: {', '.join(broken)}", file=sys.stderr)
        sys.exit(1)


def report(study: Study) -> bool:
    """Make a study and print its table; whether all its exact claims hold."""
    verdicts = study.make()
    lines = [[v.verdict, v.claim, v.paper, v.ours] for v in verdicts]
    show(f"{study.name}: {study.facts['paper']}", ["verdict", "claim", "paper", "ours"], lines)
    print(study.figure, flush=True)
    return all(v.holds for v in verdicts if v.exact)


def overview(known: dict[str, Study]) -> None:
    """The list."""
    lines = [
        [name, s.facts["paper"], s.facts["cost"]["small"], s.status, s.facts["claim"]]
        for name, s in known.items()
    ]
    show("studies", ["study", "paper", "cost", "verdict", "claim"], lines)


def show(title: str, head: list[str], lines: list[list[str]]) -> None:
    """A table whose cells wrap, the first column kept whole."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", box=None, padding=(0, 2, 1, 0))
    for i, name in enumerate(head):
        grid.add_column(name, no_wrap=i == 0, overflow="fold", style="bold" if i == 0 else "")
    for line in lines:
        grid.add_row(*line)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(grid)


def note(text: str) -> None:
    """A heading on stderr, where progress goes too."""
    print(text, file=sys.stderr, flush=True)
