"""Frechet distance and precision, recall, density, coverage on 10,000 x 2,048 features."""

import contextlib
import io
from functools import lru_cache

import torch
from torch import Tensor

from aigc.lab.bench import case
from aigc.metrics.distance import frechet
from aigc.metrics.structure import prdc

N, D = 10_000, 2048


@lru_cache
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


def steps(by: dict):
    """A step that calls each on the features."""

    def start(call):
        def make():
            call(*(Z[:300] for Z in features(N, D)))  # its imports
            return lambda: call(*features(N, D)) and None

        return make

    return {name: start(call) for name, call in by.items()}


@case("fd", unit="s", light=True, turns=3)
def fd():
    """Frechet distance."""
    ours = {"aigc": lambda X, Y: {"fd": frechet(X, Y)}}
    return steps(ours | {"torchmetrics": torchmetrics_fd, "torch-fidelity": torch_fidelity_fd})


@case("prdc", unit="s", light=True, turns=1)
def prdc_():
    """Precision, recall, density, coverage."""
    return steps({"aigc": prdc, "prdc": prdc_package})
