"""How large the page of many runs is, and how fast a browser opens it.

    python experiments/benchmarks/page.py STUDY [--runs 100] [--out DIR]

Copies the runs of a judged study with other seeds and values (pictures and sounds as they are),
as many seeds of each family (`seeds`) and as many settings (`settings`, a line each). One JSON line
a page: its bytes, seconds to write, and milliseconds until Chromium has loaded it, if there is one.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import yaml

from aigc.analysis.report import compare
from aigc.runs import RunDir

CLOCK = "<script>onload = () => setTimeout(() => document.title = performance.now())</script>"


def main() -> None:
    """Write and open both pages."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", default=tempfile.mkdtemp())
    args = parser.parse_args()
    for kind in ("seeds", "settings"):
        folder = Path(args.out) / kind
        copied([run for run in RunDir.below(args.study) if run.is_done], folder, args.runs, kind)
        start = time.perf_counter()
        _, page = compare([str(folder)])
        row = {"page": kind, "runs": args.runs, "mb": round(page.stat().st_size / 1e6, 2)}
        row |= {"written_s": round(time.perf_counter() - start, 1), "loaded_ms": loaded(page)}
        print(json.dumps(row), flush=True)


def copied(runs: list[RunDir], folder: Path, count: int, kind: str) -> None:
    """`count` runs made of `runs`, with values that differ by a tenth."""
    random.seed(0)
    for i, run in enumerate(islice(cycle(runs), count)):
        ignored = shutil.ignore_patterns("checkpoints", "*.npz")
        copy = RunDir(shutil.copytree(run.path, folder / f"run{i:03d}", ignore=ignored))
        config = copy.config | {"seed": i}
        if kind == "settings":
            config["optimizer"] = {**config["optimizer"], "lr": (i + 1) * 1e-5}
        (copy / "config.yaml").write_text(yaml.safe_dump(config))
        rows = [row | {"value": row["value"] and row["value"] * random.uniform(0.9, 1.1)}
                for row in copy.rows()]  # fmt: skip
        (copy / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def loaded(page: Path) -> float | None:
    """Milliseconds from the start of navigation to the end of loading; None without Chromium."""
    if not (browser := shutil.which("chromium") or shutil.which("google-chrome")):
        return None
    timed = page.with_name("timed.html")
    timed.write_text(page.read_text().replace("</body>", f"{CLOCK}</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--timeout=20000"]
    command += [f"--user-data-dir={tempfile.mkdtemp()}", "--dump-dom", timed.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    title = re.search(r"<title>([\d.]+)</title>", found)
    return round(float(title[1])) if title else None


if __name__ == "__main__":
    main()
