"""Sample one run by six samplers at several costs and add the rows to its results.

    python experiments/mnist_nfe/measure.py RUN [N]

What `aigc evaluate run=RUN sampler=S sampler.steps=K metrics=[fd,nfe]` does for each of them, with
the features of the real data computed once. Evaluations are counted, not computed from K.
"""

import sys

import aigc
from aigc.lab.conf import describe
from aigc.lab.costs import timed_samples
from aigc.lab.judge import Judge
from aigc.metrics.suite import judge

COSTS = (5, 10, 20, 40)
KARRAS = {"grid": "karras"}
SAMPLERS = {"ancestral": {}, "ddim": {}, "euler": KARRAS, "heun": KARRAS, "dpmpp": KARRAS}
SAMPLERS["unipc"] = KARRAS


def main(path: str, n: int = 500) -> None:
    """Every sampler at every cost."""
    run = aigc.load(path)
    judge_ = Judge(run.store, n, ["randconv", "pca"])
    run.dir.add_rows(judge_.cached_baselines(), "references.jsonl")
    for cost in COSTS:
        for name, options in SAMPLERS.items():
            steps = (cost + 1) // 2 if name == "heun" else cost  # two evaluations but for the last
            measure(run, judge_, name, {**options, "steps": steps}, n)


def measure(run, judge_: Judge, name: str, options: dict, n: int) -> None:
    """The rows of one sampler."""
    strategy, node = run.sampler(name, **options), run.sampler_node(name, **options)
    samples, cost = timed_samples(run, n, 0, strategy, 128)
    rows = judge(judge_.evidence(samples.ids, cost=cost), judge_.reference, names=["fd", "nfe"])
    facts = {"sampler": describe(node), "nfe": cost["nfe"], "seed": 0, "batch_size": 128}
    facts["ema"] = run.config["model"]["ema"]
    run.dir.add_rows([{**row, **facts} for row in rows])
    values = [f"{row['value']:.3f}" for row in rows if row["metric"] == "fd"]
    print(name, cost["nfe"], *values, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
