"""`aigc demo`: four families on the same real images, judged and compared; minutes on two cores."""

import sys
import time
from typing import Any

from aigc.lab.conf import compose, run_words
from aigc.lab.evaluation import evaluate
from aigc.lab.run import load
from aigc.lab.training import train

FAMILIES = ("autoregressive", "diffusion", "vae", "gan")


def main(words: list[str]) -> None:
    """Train, evaluate and compare; words are overrides for all four (such as `budget=smoke`)."""
    from aigc.analysis.export import print_table
    from aigc.analysis.report import compare

    start = time.perf_counter()
    folders = []
    for i, family in enumerate(FAMILIES, 1):
        note(f"{i}/{len(FAMILIES)}  {family}: train, sample, judge")
        config = compose("train", [f"model={family}", "study=demo", *words])
        folders.append(run_and_judge(config))
    tables, page = compare([str(folder) for folder in folders])
    for table in tables:
        print_table(table)
    note(f"four families trained and judged in {time.perf_counter() - start:.0f} s")
    print(f"the page: {page.resolve()}")


def run_and_judge(config: dict[str, Any]) -> Any:
    """The folder of a run, trained and evaluated unless that is done."""
    run = train(config)
    if not run.rows():
        words = [f"run={run.path}", *run_words(run.config, [])]
        evaluate(load(run.path), compose("evaluate", words))
    return run.path


def note(text: str) -> None:
    """A heading on stderr, where progress goes too."""
    print(f"\n{text}", file=sys.stderr, flush=True)
