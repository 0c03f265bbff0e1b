"""Agreement with the libraries that compute the same, where they are installed."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
import torch
from golden import X, Y

from aigc.metrics.distance import frechet
from aigc.metrics.diversity import vendi
from aigc.metrics.kernel import cubic, mmd2
from aigc.metrics.mauve import frontier_area, histograms
from aigc.metrics.structure import prdc
from aigc.metrics.tables import column_scores, pair_scores


def test_torch_fidelity():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    stats = [fid.fid_features_to_statistics(Z) for Z in (X, Y)]
    (theirs,) = fid.fid_statistics_to_metric(*stats, verbose=False).values()
    assert frechet(X, Y) == pytest.approx(theirs, abs=1e-8)
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    options = {"kid_subsets": 1, "kid_subset_size": 500, "verbose": False}
    options |= {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    options |= {"kid_kernel_poly_coef0": 1, "rng_seed": 2020}
    theirs = kid.kid_features_to_metric(X, Y, **options)["kernel_inception_distance_mean"]
    assert mmd2(X, Y, cubic) == pytest.approx(theirs, abs=1e-9)


def test_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Given(torch.nn.Identity):
        num_features = 16

    metric = FrechetInceptionDistance(Given(), input_img_size=(1, 1, 1)).set_dtype(torch.float64)
    for Z, real in ((X, True), (Y, False)):
        for part in Z.split(100):
            metric.update(part, real=real)
    assert frechet(X, Y) == pytest.approx(float(metric.compute()), abs=1e-8)


def test_prdc():
    package = pytest.importorskip("prdc")
    for real, fake, k in ((X, Y, 5), (Y, X, 3)):
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = package.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
        assert prdc(real, fake, k) == pytest.approx(theirs, abs=1e-12)


def test_vendi_score():
    package = pytest.importorskip("vendi_score.vendi")
    theirs = package.score_dual(X[:100].numpy(), normalize=True)
    assert vendi(X[:100]) == pytest.approx(theirs)


def test_mauve_text():
    package = pytest.importorskip("mauve.compute_mauve")
    quantised = histograms(X, Y, 25, 0)
    theirs = package.get_divergence_curve_for_multinomials(
        *(p.numpy() for p in quantised), np.linspace(1e-6, 1 - 1e-6, 25), 5
    )
    x, y = theirs.T
    area = 0.5 * abs(np.trapezoid(y[x.argsort()], np.sort(x)))
    area += 0.5 * abs(np.trapezoid(x[y.argsort()], np.sort(y)))
    assert frontier_area(*quantised) == pytest.approx(area, abs=1e-6)


def test_sdmetrics():
    package = pytest.importorskip("sdmetrics.single_table")
    del package
    from sdmetrics.column_pairs import CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement

    a, b = ((Z[:, :2] * 3 + 12).round().long() for Z in (X, Y))
    shapes = column_scores(a, b, (True, False))
    columns = [pd.Series(Z[:, 0].numpy()) for Z in (a, b)]
    assert shapes[0] == pytest.approx(KSComplement.compute(*columns))
    columns = [pd.Series(Z[:, 1].numpy()) for Z in (a, b)]
    assert shapes[1] == pytest.approx(TVComplement.compute(*columns))
    frames = [pd.DataFrame(Z.numpy()) for Z in (a, b)]
    assert pair_scores(a, b, (True, True))[0] == pytest.approx(
        CorrelationSimilarity.compute(*frames)
    )
