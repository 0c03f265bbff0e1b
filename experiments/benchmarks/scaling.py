"""How cost grows: the exponent `e` of seconds ~ size**e, fitted over the larger half of the sizes.

    python experiments/benchmarks/scaling.py [--study DIR]     one thread; about three minutes

One JSON line each: sizes, seconds (the best of three), and the exponent. `--study` is a judged
study, whose copies tell what comparing many runs costs.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
import torch

from aigc.core.spec import Space, Spec
from aigc.core.views import Tokens


def main() -> None:
    """Measure each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--study")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, sizes, build in cases(args.study):
        if args.only not in name:
            continue
        seconds = [best(build(size)) for size in sizes]
        half = len(sizes) // 2
        slope = np.polyfit(np.log(sizes[-half - 1 :]), np.log(seconds[-half - 1 :]), 1)[0]
        row = {"cost of": name, "sizes": sizes, "seconds": [round(s, 4) for s in seconds]}
        print(json.dumps(row | {"exponent": round(float(slope), 2)}), flush=True)


def best(work: Callable[[], object], tries: int = 3) -> float:
    """The least seconds, after one call to warm up."""
    work()
    found = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def cases(study: str | None) -> Iterator[tuple[str, list[int], Callable]]:
    """Names, sizes, and what gives the work of a size."""
    yield "transformer step, width", [64, 128, 256, 512], lambda w: step(width=w)
    yield "transformer step, length", [128, 256, 512, 1024], lambda t: step(length=t, batch=2)
    yield "transformer step, batch", [4, 8, 16, 32], lambda b: step(batch=b)
    yield "generation, length", [64, 128, 256, 512], lambda t: generation(16, t)
    yield "generation, samples", [16, 32, 64, 128], lambda n: generation(n, 64)
    yield "U-Net step, side of a picture", [16, 32, 64], unet
    yield "FD, examples", [1000, 2000, 4000, 8000], lambda n: metric("fd", n, 256)
    yield "FD, features", [128, 256, 512, 1024], lambda d: metric("fd", 2000, d)
    yield "PRDC, examples", [1000, 2000, 4000], lambda n: metric("prdc", n, 256)
    yield "table codec, rows", [2000, 4000, 8000, 16000], rows
    yield "text codec, documents", [250, 500, 1000, 2000], text
    if study:
        yield "aigc compare, runs", [25, 50, 100, 200], partial(compared, study)


def step(width: int = 128, length: int = 128, batch: int = 8) -> Callable:
    """Forward and backward of a transformer of 2 layers."""
    from aigc.families.autoregressive.module import Autoregressive
    from aigc.nets.transformer import CausalTransformer

    net = partial(CausalTransformer, width=width, depth=2)
    model, ids = Autoregressive(net, view=Tokens(Space((length,), 65))), None
    ids = torch.randint(65, (batch, length))
    return lambda: model.loss(ids, None).value.backward()


def generation(n: int, length: int) -> Callable:
    """Samples of a transformer of 2 layers."""
    from aigc.families.autoregressive.module import Autoregressive
    from aigc.families.autoregressive.sampling import Temperature
    from aigc.nets.transformer import CausalTransformer

    net = partial(CausalTransformer, width=64, depth=2)
    model = Autoregressive(net, view=Tokens(Space((length,), 65))).eval()
    return lambda: model.sample(n, sampler=Temperature())


def unet(side: int) -> Callable:
    """Forward and backward of a U-Net."""
    from aigc.nets.unet import UNet

    net = UNet(Spec((3, side, side), quantum=0.01), width=16)
    x, t = torch.randn(4, 3, side, side), torch.rand(4)
    return lambda: net(x, t).sum().backward()


def metric(name: str, n: int, d: int) -> Callable:
    """A metric of features."""
    from aigc.metrics.distance import frechet
    from aigc.metrics.structure import prdc

    X, Y = torch.randn(n, d).double(), torch.randn(n, d).double()
    return lambda: {"fd": frechet, "prdc": prdc}[name](X, Y)


def rows(n: int) -> Callable:
    """Fit and encode a table of 10 columns, one of names."""
    from aigc.modalities.tabular import TabularCodec

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 9)), columns=list("abcdefghi"))
    frame["kind"] = rng.choice(["red", "green", "blue"], n)
    return lambda: TabularCodec().fit([frame]).encode(frame)


def text(n: int) -> Callable:
    """Fit and encode documents of 1,000 bytes."""
    from aigc.modalities.text import TextCodec

    words = [("word " * 200)[:1000]] * n
    return lambda: TextCodec().fit([words]).encode(words)


def compared(study: str, runs: int) -> Callable:
    """Read, summarise and write the page of so many runs."""
    from pathlib import Path

    from page import copied

    from aigc.analysis.report import compare
    from aigc.runs import RunDir

    folder = Path(tempfile.mkdtemp()) / "runs"
    copied([run for run in RunDir.below(study) if run.is_done], folder, runs, "seeds")
    return lambda: compare([str(folder)])


if __name__ == "__main__":
    main()
