"""`aigc demo`: four families on the same real images, judged and compared; minutes on two cores."""

import sys
import time

from aigc.lab.api import evaluate, train
from aigc.lab.conf import compose
from aigc.lab.evaluation import judged

FAMILIES = ("autoregressive", "diffusion", "vae", "gan")


def main(words: list[str]) -> None:
    """Train, evaluate and compare; words are overrides for all four (such as `budget=smoke`)."""
    from aigc.analysis.export import print_table
    from aigc.analysis.report import compare

    compose("train", words)  # a mistake is said before anything is trained
    start = time.perf_counter()
    folders = []
    for i, family in enumerate(FAMILIES, 1):
        note(f"{i}/{len(FAMILIES)}  {family}: train, sample, judge")
        run = train(f"model={family}", "study=demo", *words)
        if not judged(run.dir):
            evaluate(run)
        folders.append(str(run.dir))
    tables, page = compare(folders)
    for table in tables:
        print_table(table)
    note(f"four families trained and judged in {time.perf_counter() - start:.0f} s")
    print(f"the page: {page.resolve()}")


def note(text: str) -> None:
    """A heading on stderr, where progress goes too."""
    print(f"\n{text}", file=sys.stderr, flush=True)
