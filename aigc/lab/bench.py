"""`aigc bench`: ours and other libraries by turns, beside what the machine can do.

A case is a function of `experiments/benchmarks/cases/*.py` under `@case`. It gives contenders by
name, ours as `aigc`: functions that build something and return its step. All contenders of a case
live in one process, with one number of threads, and take turns A B C, C B A, A B C, ...
"""

import argparse
import ctypes
import gc
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from aigc.core.errors import unknown

Step = Callable[[], float | None]  # does the work of one step; may give the seconds that count
Start = Callable[[], Step]
FIRST = "aigc"


@dataclass(frozen=True)
class Case:
    """What one step does: `count` of `unit` (per second is better) or, where `unit` is a time such
    as "ms a step", `count` steps; `limit` names the physical limit that its FLOPs are held to."""

    name: str
    contenders: Callable[[], dict[str, Start]]
    unit: str = "steps/s"
    count: int = 1
    limit: str | None = None
    seconds: float = 1.5  # a turn lasts about so long, or one step if that is longer
    turns: int | None = None  # at most
    light: bool = False  # one that takes long: its memory is not looked at

    @property
    def about(self) -> str:
        """The first line of what the function says of itself."""
        return (self.contenders.__doc__ or "").splitlines()[0]


CASES: dict[str, Case] = {}


def case(name: str, **facts: Any) -> Callable:
    """Register a function that gives the contenders of a case."""

    def add(contenders: Callable[[], dict[str, Start]]) -> Callable:
        CASES[name] = Case(name, contenders, **facts)
        return contenders

    return add


@dataclass
class Contender:
    """One of a case, warm: its step, steps in a turn, and what was found."""

    name: str
    step: Step
    peak_mb: float
    flops: float
    steps: int = 1
    seconds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Time `steps` steps."""
        gc.collect()
        self.seconds.append(timed(self.step, self.steps) / self.steps)


def timed(step: Step, steps: int) -> float:
    """Seconds of so many steps."""
    start, told = time.perf_counter(), [step() for _ in range(steps)]
    return sum(told) if told[0] is not None else time.perf_counter() - start


def warm(name: str, start: Start, of: Case) -> Contender:
    """Build a contender, twice: once for its imports, then to see what memory it takes itself."""
    step = start()
    once = timed(step, 1)
    if of.light:
        return Contender(name, step, 0.0, 0.0)
    del step
    trim()
    held = memory("VmRSS")
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    step = start()
    once = min(once, timed(step, 1))
    found = Contender(name, step, memory("VmHWM") - held, flops(step) if of.limit else 0.0)
    found.steps = max(1, round(of.seconds / once))
    return found


def run(chosen: Case, vs: set[str] | None, turns: int) -> list[dict[str, Any]]:
    """Rows of one case, and on stderr which contenders are missing."""
    ready = []
    for name, start in chosen.contenders().items():
        if name != FIRST and vs is not None and name not in vs:
            continue
        try:
            ready.append(warm(name, start, chosen))
        except Exception as error:
            if name == FIRST:
                raise
            print(f"{chosen.name}: {name} is left out: {error}", file=sys.stderr, flush=True)
    for turn in range(min(turns, chosen.turns or turns)):
        for contender in ready[:: -1 if turn % 2 else 1]:
            contender.turn()
    return [row(chosen, contender, ready[0]) for contender in ready]


def row(chosen: Case, one: Contender, ours: Contender) -> dict[str, Any]:
    """What a table shows of a contender; `faster` is how many times ours is as fast."""
    rates = [chosen.count / s for s in one.seconds]
    faster = [other / own for other, own in zip(one.seconds, ours.seconds)]
    found = {"case": chosen.name, "by": one.name, "unit": chosen.unit}
    if not chosen.unit.endswith("/s"):
        scale = 1e3 if chosen.unit.startswith("ms") else 1
        rates = [scale * s / chosen.count for s in one.seconds]
    found |= {"median": statistics.median(rates), "range": [min(rates), max(rates)]}
    found |= {"faster": statistics.median(faster), "faster_range": [min(faster), max(faster)]}
    found |= {"turns": len(rates), "steps": one.steps}
    if one.peak_mb:
        found["peak_mb"] = one.peak_mb
    if one.flops:
        found |= {"gflops": one.flops / statistics.median(one.seconds) / 1e9, "limit": chosen.limit}
    return found


def flops(step: Step) -> float:
    """Floating-point operations of the products and convolutions of a step (2 for a multiply-add),
    attention over all pairs whether masked or not."""
    from torch.utils.flop_counter import FlopCounterMode

    from aigc.lab.costs import kernels

    with FlopCounterMode(display=False, custom_mapping=kernels()) as counter:
        step()
    return float(counter.get_total_flops())


def memory(name: str) -> float:
    """MB that this process holds (VmRSS) or held at most (VmHWM); Linux tells."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1e3


def trim() -> None:
    """Give memory that nothing holds back to the system, so that peaks can be told apart."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def table(rows: list[dict[str, Any]], limits: dict[str, float]) -> str:
    """Markdown."""
    head = ["case", "by", "median (range)", "unit", "ours is x as fast", "peak MB", "of limit"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for r in rows:
        low, high = r["range"]
        ratio = "" if r["by"] == FIRST else f"{r['faster']:.2f} ({_pair(r['faster_range'])})"
        limit = limits.get(r.get("limit") or "")
        share = f"{r['gflops'] / limit:.0%} {r['limit']}" if limit and r.get("gflops") else ""
        cells = [r["case"], r["by"], f"{_short(r['median'])} ({_short(low)} to {_short(high)})"]
        peak = f"{r['peak_mb']:.0f}" if "peak_mb" in r else ""
        cells += [r["unit"], ratio, peak, share]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _pair(pair: list[float]) -> str:
    return f"{pair[0]:.2f} to {pair[1]:.2f}"


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def machine() -> dict[str, Any]:
    """Where it was measured."""
    import torch

    with suppress(OSError, TypeError):
        name = re.search(r"model name\s+: (.*)", Path("/proc/cpuinfo").read_text())[1]
        return {
            "cpu": name,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "date": time.strftime("%Y-%m-%d"),
        }
    return {"cpu": platform.processor(), "threads": torch.get_num_threads()}


def load() -> None:
    """Read the files of cases."""
    from aigc.lab.studies import experiments_dir

    folder = experiments_dir() / "benchmarks" / "cases"
    sys.path.insert(0, str(folder))
    for file in sorted(folder.glob("[a-z]*.py")):
        spec = spec_from_file_location(f"aigc_bench_{file.stem}", file)
        spec.loader.exec_module(module_from_spec(spec))


def main(words: list[str]) -> None:
    """List the cases, or measure some: JSON lines as they come, then a table."""
    parser = argparse.ArgumentParser("aigc bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a case or its beginning, or all")
    parser.add_argument("--vs", help="only these contenders: litgpt,diffusers; none: ours alone")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of every contender; default: torch's")
    parser.add_argument("--out", type=Path, help="a folder for results.jsonl and table.md")
    args = parser.parse_args(words)
    load()
    chosen = [c for n in args.names for c in _called(n)]
    if not chosen:
        for one in CASES.values():
            print(f"{one.name:24}{one.unit:14}{one.about}")
        return
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    from aigc.lab.limits import measured

    vs, limits = args.vs and set(args.vs.split(",")), measured()
    rows, failed = [], False
    print(json.dumps(machine() | {"limits": limits}), flush=True)
    for one in chosen:
        try:
            found = run(one, vs, args.turns)
        except Exception as error:  # costs its own case alone
            print(f"{one.name} failed: {error!r}", file=sys.stderr, flush=True)
            found, failed = [], True
        for r in found:
            print(json.dumps(r), flush=True)
        rows += found
        trim()
    text = f"{json.dumps(machine())}\n\n{table(rows, limits)}\n"
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(r) for r in [machine() | {"limits": limits}, *rows]]
        (args.out / "results.jsonl").write_text("\n".join(lines) + "\n")
        (args.out / "table.md").write_text(text)
    if failed:
        raise SystemExit(1)


def _called(name: str) -> list[Case]:
    found = [c for c in CASES.values() if name == "all" or c.name.startswith(name)]
    if not found:
        raise unknown("case of `aigc bench`", name, [*CASES, "all"])
    return found
