"""Golden values of the reference libraries, identities, and what each fault must do."""

import numpy as np
import pytest
import torch

from aigc.metrics.baselines import GaussianFit, Marginals
from aigc.metrics.distance import frechet
from aigc.metrics.features import EXTRACTORS, PCA, RandConv, dims_for
from aigc.metrics.registry import METRICS, Evidence
from aigc.metrics.structure import prdc
from aigc.metrics.suite import judge

# Recipe R0: drawn in this order from a generator that numpy keeps frozen.
_r = np.random.RandomState(0)
X, Y, Z = (
    torch.from_numpy(a)
    for a in (_r.randn(500, 16), _r.randn(500, 16) * 1.1 + 0.2, _r.randn(500, 16))
)


def test_the_recipe_is_the_one_that_the_golden_values_were_computed_on():
    assert X.sum().item() == pytest.approx(-108.04826801806354)
    assert Y.sum().item() == pytest.approx(1554.9432404487375)


def test_frechet_distance_of_pytorch_fid():
    """1.2086676361760595: pytorch-fid = clean-fid = torch-fidelity = torchmetrics."""
    assert frechet(X, Y) == pytest.approx(1.2086676361760595, abs=1e-9)
    assert frechet(X, X) == pytest.approx(0, abs=1e-6)
    assert frechet(X, Y) == pytest.approx(frechet(Y, X), abs=1e-9)


def test_frechet_distance_with_fewer_examples_than_features():
    a, b = torch.randn(10, 30).double(), torch.randn(12, 30).double()
    from scipy.linalg import sqrtm

    ca, cb = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    root = np.trace(sqrtm(ca @ cb).real)
    wanted = float((a.mean(0) - b.mean(0)).square().sum()) + np.trace(ca) + np.trace(cb) - 2 * root
    assert frechet(a, b) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(
    ("other", "golden"),
    [(Y, (0.746, 0.926, 0.644, 0.866)), (Z, (0.852, 0.894, 0.9872, 0.958)), (X, (1, 1, 1, 1))],
    ids=["other law", "same law", "itself"],
)
def test_precision_recall_density_coverage_of_prdc(other: torch.Tensor, golden: tuple):
    values = prdc(X, other)
    assert tuple(values.values()) == pytest.approx(golden, abs=1e-12)


def test_prdc_does_not_depend_on_the_slab(monkeypatch: pytest.MonkeyPatch):
    from aigc.metrics import structure

    whole = structure.distances
    monkeypatch.setattr(structure, "distances", lambda A, B: whole(A, B, chunk=64))
    with pytest.raises(RuntimeError):  # radii are cut in the same slabs, so chunks must agree
        structure.prdc(X, Y)


@pytest.mark.parametrize(
    ("name", "other_law", "same_law"), [("c2st", 0.655, 0.491), ("c2st_knn", 0.571, 0.523)]
)
def test_classifier_accuracy_of_sklearn(name: str, other_law: float, same_law: float):
    assert METRICS[name].fn(evidence(Y))[0] == pytest.approx(other_law, abs=0.01)
    assert METRICS[name].fn(evidence(Z))[0] == pytest.approx(same_law, abs=0.01)


def evidence(gen: torch.Tensor, ref: torch.Tensor = X, train: torch.Tensor = Z) -> Evidence:
    return Evidence("image", gen, ref, train, dims=16)


SETS = [m for m in METRICS.values() if m.needs <= {"gen", "ref", "train"} and m.axis != "cost"]


@pytest.mark.parametrize("metric", SETS, ids=lambda m: m.name)
def test_order_of_examples_does_not_matter(metric):
    shuffled = Y[torch.randperm(500, generator=torch.manual_seed(0))]
    a, b = (metric.fn(evidence(g)) for g in (Y, shuffled))
    a, b = (v[0] if isinstance(v, tuple) else v for v in (a, b))
    assert a == pytest.approx(b, abs=0.02 if metric.name.startswith("c2st") else 1e-9)


def worse(metric, a: float, b: float) -> bool:
    """Whether `b` is worse than `a`."""
    if metric.better == "target":
        return abs(b - metric.target) > abs(a - metric.target)
    return b > a if metric.better == "low" else b < a


FAULTS = {
    "noise": lambda s: Z + s * torch.randn(Z.shape, generator=torch.manual_seed(1)).double(),
    "shift": lambda s: Z + s,
    "shrink": lambda s: Z / (1 + s),
}
SEES = {
    "fd": ("noise", "shift", "shrink"),
    "c2st": ("shift",),
    "c2st_knn": ("noise", "shift", "shrink"),
    "precision": ("noise", "shift"),
    "density": ("noise", "shift"),
    "recall": ("shrink", "shift"),
    "coverage": ("noise", "shift"),
}


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n, faults in SEES.items() for f in faults])
def test_a_stronger_fault_is_worse(name: str, fault: str):
    metric = METRICS[name]
    values = []
    for strength in (0.0, 0.7, 2.5):
        value = metric.fn(evidence(FAULTS[fault](strength)))
        values.append(value[0] if isinstance(value, tuple) else value)
    assert worse(metric, values[0], values[1])
    assert worse(metric, values[1], values[2]) or abs(values[1] - values[2]) < 0.02


def test_copies_of_the_training_data_are_caught():
    metric = METRICS["nn_ratio"]
    assert metric.fn(evidence(Z))[0] == 0
    fresh = torch.from_numpy(np.random.RandomState(5).randn(500, 16))
    assert metric.fn(evidence(fresh))[0] == pytest.approx(1, abs=0.05)


def test_likelihood_units():
    """Uniform 8-bit data cost 8 bits a dimension; a byte of text that costs ln 2 nats, one bit."""
    nats = torch.full((10,), 16 * float(np.log(256)))
    assert METRICS["bits_per_dim"].fn(Evidence("image", nats=nats, dims=16))[0] == pytest.approx(8)
    text = Evidence(
        "text", nats=torch.full((4,), 3 * float(np.log(2))), nbytes=torch.tensor([3] * 4)
    )
    assert METRICS["bits_per_byte"].fn(text)[0] == pytest.approx(1)


def test_rows_carry_their_protocol_and_skipped_ones_their_reason():
    rows = judge({"pca16@abc": evidence(Y)}, "digits/test#123", kind="none", given="class")
    by_name = {row["metric"]: row for row in rows}
    fd = by_name["fd"]
    assert fd["value"] == pytest.approx(1.2086676361760595)
    assert fd["protocol"] == "fd@1 digits/test#123 pca16@abc n=500 ref=500"
    assert 0.05 < fd["sd"] < 0.3
    likelihood = by_name["bits_per_dim"]
    assert (likelihood["status"], likelihood["value"]) == ("skipped", None)
    assert "needs nats" in likelihood["reason"]
    assert "bits_per_byte" not in by_name


def test_too_few_examples_are_refused_not_scored():
    rows = judge({"pca16@abc": evidence(Y[:20])}, "x/test#1", names=["fd"])
    assert rows[0]["status"] == "skipped"
    assert rows[0]["reason"] == "needs at least 32 examples for 16 features, has 20"


def test_a_value_that_means_nothing_has_a_reason_instead():
    few = torch.arange(4.0, dtype=torch.float64).repeat(100)[:, None].expand(-1, 2)
    row = judge({"pca2@abc": evidence(few, few, train=few)}, "x/test#1", names=["nn_ratio"])[0]
    assert (row["status"], row["value"]) == ("undefined", None)
    assert "are in the training data as well" in row["reason"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (20, 30), (12,)], ids=["picture", "sound", "row"])
def test_extractors_are_fixed_by_data_and_seed(shape: tuple):
    data = torch.rand(200, *shape, generator=torch.manual_seed(0))
    a, b = RandConv(data, 16), RandConv(data, 16)
    assert a.sha == b.sha and a.id == "randconv16"
    assert torch.equal(a(data), b(data)) and a(data).dtype == torch.float64
    assert torch.allclose(a(data[:7]), a(data)[:7])
    assert RandConv(data, 16, seed=1).sha != a.sha
    assert a(data).var(0).mean().item() == pytest.approx(1, rel=0.01)
    pca = PCA(data.flatten(1), 4)
    assert pca(data.flatten(1)).mean(0).abs().max() < 1e-5
    assert pca(data.flatten(1)).var(0).mean().item() == pytest.approx(1, rel=0.01)
    assert set(EXTRACTORS) >= {"randconv", "pca"}


def test_dimensions_leave_eight_examples_a_feature():
    assert [dims_for(n) for n in (10, 36, 64, 359, 512, 10_000)] == [2, 4, 8, 32, 64, 64]


def test_marginals_have_the_right_frequencies_and_a_normalised_likelihood():
    train = torch.tensor([[0, 2], [0, 1], [1, 2], [0, 2]])
    fit = Marginals(train, (2, 3))
    drawn = fit.sample(20_000)
    assert (drawn[:, 0] == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
    every = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    assert fit.nats(every).neg().exp().sum().item() == pytest.approx(1)


def test_the_gaussian_fit_has_mean_and_covariance_of_the_data():
    generator = torch.manual_seed(0)
    z = torch.randn(5000, 1, generator=generator)
    train = (50 + 8 * torch.cat([z, 0.8 * z + 0.6 * torch.randn(5000, 1)], 1)).round().long()
    drawn = GaussianFit(train, 101).sample(20_000).double()
    assert torch.allclose(drawn.mean(0), train.double().mean(0), atol=0.4)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(train.double().T), rtol=0.06)
