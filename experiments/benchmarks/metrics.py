"""Frechet distance and precision, recall, density, coverage beside the libraries' own.

    python experiments/benchmarks/metrics.py [--n 10000] [--d 2048] [--repeats 3]

All get the same float64 features, of a spectrum that falls as that of trained networks does, and
take turns A B C A B C. One JSON line a case: the median and range of seconds, the peak of memory
above what is held before, and the values. Absent libraries are left out.
"""

import argparse
import contextlib
import io
import json
import re
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from aigc.metrics.distance import frechet
from aigc.metrics.structure import prdc

Case = Callable[[Tensor, Tensor], dict[str, float]]


def features(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Two sets `(n, d)` of close laws; standard deviations fall as one over the rank, as those of
    features of trained networks do about."""
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    rotation = torch.linalg.qr(torch.randn(d, d, **draw)).Q
    X, Y = (torch.randn(n, d, **draw) / torch.arange(1, d + 1) for _ in range(2))
    return X @ rotation + 0.5, 1.05 * Y @ rotation + 0.51


def torchmetrics_fd(X: Tensor, Y: Tensor) -> dict[str, float]:
    """Its class with the features in the place of pictures, 500 at a time."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Given(torch.nn.Identity):
        num_features = X.shape[1]

    metric = FrechetInceptionDistance(Given(), input_img_size=(1, 1, 1)).set_dtype(torch.float64)
    for Z, real in ((X, True), (Y, False)):
        for part in Z.split(500):
            metric.update(part, real=real)
    return {"fd": float(metric.compute())}


def torch_fidelity_fd(X: Tensor, Y: Tensor) -> dict[str, float]:
    """Its two functions of features."""
    from torch_fidelity import metric_fid

    statistics_ = [metric_fid.fid_features_to_statistics(Z) for Z in (X, Y)]
    found = metric_fid.fid_statistics_to_metric(*statistics_, verbose=False)
    return {"fd": found["frechet_inception_distance"]}


def prdc_package(X: Tensor, Y: Tensor) -> dict[str, float]:
    """prdc, whose processes are threads here."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return {k: float(v) for k, v in compute_prdc(X.numpy(), Y.numpy(), nearest_k=5).items()}


GROUPS: dict[str, dict[str, Case]] = {
    "fd": {
        "aigc": lambda X, Y: {"fd": frechet(X, Y)},
        "torchmetrics": torchmetrics_fd,
        "torch_fidelity": torch_fidelity_fd,
    },
    "prdc": {"aigc": prdc, "prdc": prdc_package},
}


def measured(run: Case, X: Tensor, Y: Tensor) -> tuple[float, float, dict[str, float]]:
    """Seconds, peak of memory in MB above what was held (Linux tells), values."""
    Path("/proc/self/clear_refs").write_text("5")
    before, start = _status("VmRSS"), time.perf_counter()
    values = run(X, Y)
    return time.perf_counter() - start, _status("VmHWM") - before, values


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1e3


def main() -> None:
    """Time each case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--what", default=",".join(GROUPS))
    args = parser.parse_args()
    X, Y = features(args.n, args.d)
    for group in args.what.split(","):
        cases = {name: run for name, run in GROUPS[group].items() if name == "aigc" or _has(name)}
        found = {name: [] for name in cases}
        for run in cases.values():
            run(X[:300], Y[:300])  # imports
        for _ in range(args.repeats):
            for name, run in cases.items():
                found[name].append(measured(run, X, Y))
        for name, results in found.items():
            seconds = [result[0] for result in results]
            row = {"case": group, "by": name, "n": args.n, "d": args.d}
            row |= {"seconds": round(statistics.median(seconds), 2)}
            row |= {"min_max": [round(min(seconds), 2), round(max(seconds), 2)]}
            row |= {"peak_mb": round(max(result[1] for result in results))}
            row |= {"threads": torch.get_num_threads(), **results[0][2]}
            print(json.dumps(row), flush=True)


def _has(name: str) -> bool:
    return find_spec(name) is not None


if __name__ == "__main__":
    main()
