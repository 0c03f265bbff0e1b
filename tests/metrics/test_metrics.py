"""What identity, each fault, order and reference libraries say of the metrics; rows and
extractors."""

import numpy as np
import pytest
import torch
from golden import FOUND, LOGITS, TEXTS, WANTED, X, Y, Z, drawn, features, token_nats

from aigc.core.errors import BadInput
from aigc.metrics.baselines import GaussianFit, Marginals, Smote
from aigc.metrics.distance import covariance, frechet, frechet_at_infinity, intercept
from aigc.metrics.diversity import inception_score, vendi
from aigc.metrics.features import EXTRACTORS, PCA, RandConv, dims_for
from aigc.metrics.kernel import cubic, gaussian, median_distance, mmd2, sliced_w2
from aigc.metrics.language import entropy
from aigc.metrics.mauve import frontier_area, histograms
from aigc.metrics.memorisation import rank_score
from aigc.metrics.registry import METRICS, Evidence, Rows, chosen
from aigc.metrics.structure import prdc
from aigc.metrics.suite import judge


def value(name: str, evidence: Evidence) -> float:
    out = METRICS[name].fn(evidence)
    return out[0] if isinstance(out, tuple) else out


SETS = [m for m in METRICS.values() if m.needs <= {"gen", "ref", "train"} and m.axis != "cost"]
# Nearest neighbours and folds fall differently; halves are drawn by position.
TOLERANCE = {"c2st": 0.03, "c2st_knn": 0.03, "c2st_trees": 0.04, "mauve": 0.08, "fd_inf": 0.2}
TOLERANCE |= {"dcr": 1e-9, "membership": 1e-9}


@pytest.mark.parametrize("metric", SETS, ids=lambda m: m.name)
def test_order_of_examples_does_not_matter(metric):
    shuffled = Y[torch.randperm(500, generator=torch.manual_seed(0))]
    a, b = (value(metric.name, features(g)) for g in (Y, shuffled))
    assert a == pytest.approx(b, abs=TOLERANCE.get(metric.name, 1e-9))


# What a metric gives when generated and reference examples are the same ones.
IDENTITY = {
    **dict.fromkeys(("fd", "energy", "sliced_w2"), 0.0),
    **dict.fromkeys(("precision", "recall", "density", "coverage", "vendi", "mauve"), 1.0),
    "nn_ratio": 1.0,
    "c_t": 0.0,
}


@pytest.mark.parametrize(("name", "wanted"), IDENTITY.items())
def test_a_set_against_itself(name: str, wanted: float):
    assert value(name, features(X)) == pytest.approx(wanted, abs=1e-3 if name == "mauve" else 1e-6)


@pytest.mark.parametrize("name", ["kid", "mmd"])
def test_unbiased_kernel_distances_are_zero_on_average(name: str):
    values = [value(name, features(drawn(s, 200), drawn(s + 50, 200))) for s in range(12)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 12**0.5
    assert min(values) < 0


def worse(metric, a: float, b: float) -> bool:
    """Whether `b` is worse than `a`."""
    if metric.better == "target":
        return abs(b - metric.target) > abs(a - metric.target)
    return b > a if metric.better == "low" else b < a


NOISE = torch.from_numpy(np.random.RandomState(7).randn(500, 16))
FAULTS = {
    "noise": lambda s: Z + s * NOISE,
    "shift": lambda s: Z + s,
    "shrink": lambda s: Z / (1 + s),
    "duplicates": lambda s: Z[torch.arange(500) % int(500 / (1 + 20 * s))],
    "copies": lambda s: torch.cat([X[: int(180 * s)], drawn(8, 500)])[:500],  # of `train=X`
}
SEES = {
    "fd": ("noise", "shift", "shrink", "duplicates"),
    "fd_inf": ("noise", "shift", "shrink"),
    "kid": ("noise", "shift", "shrink"),
    "mmd": ("noise", "shift", "shrink"),
    "kad": ("noise", "shift", "shrink"),
    "sliced_w2": ("noise", "shift", "shrink"),
    "energy": ("noise", "shift", "shrink"),
    "c2st": ("shift",),
    "c2st_knn": ("noise", "shift", "shrink"),
    "c2st_trees": ("noise",),
    "precision": ("noise", "shift"),
    "density": ("noise", "shift"),
    "recall": ("shrink", "shift", "duplicates"),
    "coverage": ("noise", "shift", "duplicates"),
    "vendi": ("duplicates",),
    "mauve": ("shift", "duplicates"),
    "nn_ratio": ("noise", "copies"),
    "c_t": ("noise", "copies"),
    "auth_pct": ("copies",),
    "dcr": ("copies",),
    "membership": ("copies",),
}


def test_every_metric_of_features_has_a_fault_that_it_sees():
    assert {m.name for m in SETS} == set(SEES)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n, faults in SEES.items() for f in faults])
def test_a_stronger_fault_is_worse(name: str, fault: str):
    train = X if fault == "copies" else drawn(4, 500)
    ref = drawn(5, 500) if fault == "copies" else X
    values = [value(name, features(FAULTS[fault](s), ref, train)) for s in (0.0, 0.7, 2.5)]
    metric = METRICS[name]
    assert worse(metric, values[0], values[1])
    assert worse(metric, values[1], values[2]) or abs(values[1] - values[2]) < 0.02


def test_frechet_distance_with_fewer_examples_than_features():
    generator = torch.manual_seed(0)
    a, b = (torch.randn(n, 30, generator=generator).double() for n in (10, 12))
    from scipy.linalg import sqrtm

    ca, cb = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    root = np.trace(sqrtm(ca @ cb).real)
    wanted = float((a.mean(0) - b.mean(0)).square().sum()) + np.trace(ca) + np.trace(cb) - 2 * root
    assert frechet(a, b) == pytest.approx(wanted, abs=1e-3)


def test_many_features_take_the_faster_way_to_the_same_distance(monkeypatch):
    from torchmetrics.image.fid import _compute_fid

    slow = frechet(X, Y)
    monkeypatch.setattr("aigc.metrics.distance.WIDE", 16)
    theirs = _compute_fid(X.mean(0), torch.cov(X.T), Y.mean(0), torch.cov(Y.T))
    assert slow == pytest.approx(float(theirs), abs=1e-9)
    assert frechet(X, Y) == pytest.approx(slow, rel=1e-6)
    assert np.allclose(np.tril(covariance(X) - torch.cov(X.T).numpy()), 0, atol=1e-12)
    flat = X.clone()
    flat[:, 5] = 0  # no Cholesky factor
    assert frechet(flat, flat) == pytest.approx(0, abs=1e-6)


def test_features_of_any_spectrum_have_the_distance_of_their_singular_values(monkeypatch):
    """Where single precision does not do, it tells, and double or singular values take over."""
    rotation = torch.linalg.qr(X[:16]).Q
    for decades in (0, 3, 6, 9):
        scales = torch.logspace(0, -decades, 16, dtype=torch.float64)
        A, B = ((Z * scales) @ rotation for Z in (X, Y))
        monkeypatch.setattr("aigc.metrics.distance.WIDE", 999)
        wanted = frechet(A, B)
        monkeypatch.setattr("aigc.metrics.distance.WIDE", 16)
        assert frechet(A, B) == pytest.approx(wanted, rel=1e-5)


def test_frechet_at_infinity_takes_the_bias_of_small_samples_away():
    assert intercept(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([5.0, 7.0, 11.0])) == 3
    assert abs(frechet_at_infinity(X, Y) - 0.8) < abs(frechet(X, Y) - 0.8) / 2
    assert frechet_at_infinity(X, Z) < frechet(X, Z) / 2


def test_precision_recall_density_coverage_of_prdc_in_order():
    assert tuple(prdc(X, Y).values()) == pytest.approx((0.746, 0.926, 0.644, 0.866), abs=1e-12)
    assert tuple(prdc(X, X).values()) == (1, 1, 1, 1)


def test_kernel_distances_of_the_published_formulas():
    """CMMD is biased, of width 10 and times 1000; MMD of the pooled median distance."""
    assert 1000 * mmd2(X, Y, gaussian(10), unbiased=False) == pytest.approx(6.666712806573605)
    sigma = median_distance(torch.cat([X, Y]))
    assert sigma == pytest.approx(5.78437945133542)
    assert mmd2(X, Y, gaussian(sigma)) == pytest.approx(0.013353348152891353)
    assert median_distance(X) == pytest.approx(5.482165563017609)


def test_kid_over_subsets_of_torch_fidelity():
    rng, values = np.random.RandomState(2020), []
    for _ in range(100):
        a, b = (Z[rng.choice(500, 100, replace=False)] for Z in (X, Y))
        values.append(mmd2(a, b, cubic))
    assert np.mean(values) == pytest.approx(0.15367798677, abs=1e-9)
    assert np.std(values) == pytest.approx(0.0573674, abs=1e-6)


def test_distances_on_a_line_are_those_of_scipy():
    from scipy.stats import energy_distance, wasserstein_distance

    a, b = X[:, :1], Y[:, :1]
    root = value("energy", features(b, a)) ** 0.5
    assert root == pytest.approx(0.16618921263873376, abs=1e-7)
    assert root == pytest.approx(energy_distance(a[:, 0], b[:, 0]), abs=1e-7)
    # W1 <= W2 on the line, where every projection is the line itself
    w1 = wasserstein_distance(a[:, 0], b[:, 0])
    assert w1 == pytest.approx(0.2067378922606855)
    assert (
        w1
        <= sliced_w2(a, b)
        == pytest.approx(float((a.sort(0).values - b.sort(0).values).square().mean() ** 0.5))
    )


def test_permutations_of_kid_tell_another_law_from_the_same():
    """p of 200 permutations: 0.004975 against Y, 0.189055 against a fresh sample."""

    def p_value(other: torch.Tensor) -> float:
        both, rng = torch.cat([X, other]), np.random.RandomState(0)
        observed, above = mmd2(X, other, cubic), 0
        for _ in range(40):
            order = rng.permutation(1000)
            above += mmd2(both[order[:500]], both[order[500:]], cubic) >= observed
        return (1 + above) / 41

    assert p_value(Y) == pytest.approx(1 / 41)
    assert 0.05 < p_value(drawn(9, 500)) < 0.4


def test_classifiers_give_a_p_value():
    assert METRICS["c2st"].fn(features(Y)).p < 1e-9
    assert METRICS["c2st"].fn(features(Z)).p > 0.3


def test_vendi_scores_of_the_reference_library_and_closed_forms():
    assert vendi(X[:100]) == pytest.approx(14.807431429026607)
    assert vendi(torch.eye(7).double()) == pytest.approx(7)
    assert vendi(torch.ones(7, 7).double()) == pytest.approx(1)
    assert vendi(X[:10]) == pytest.approx(vendi(torch.cat([X[:10], X[:10]])))


def test_mauve_of_the_reference_library_up_to_clustering():
    """mauve-text: 0.919 at one seed of its k-means, 0.930 to 0.976 at five others."""
    areas = [frontier_area(*histograms(X, Y, 25, seed)) for seed in range(5)]
    assert 0.915 < min(areas) < 0.95 < max(areas) < 0.977
    p = torch.tensor([0.2, 0.3, 0.5]).double()
    q = torch.tensor([0.5, 0.3, 0.2]).double()
    assert frontier_area(p, q) == pytest.approx(frontier_area(q, p))
    assert frontier_area(p, p) == pytest.approx(1)


def test_rank_scores_are_those_of_scipy():
    from scipy.stats import mannwhitneyu

    a, b = X[:80, 0].round(decimals=1), Y[:120, 0].round(decimals=1)
    u = mannwhitneyu(a.numpy(), b.numpy()).statistic
    assert rank_score(a, b) == pytest.approx((u - 4800) / (80 * 120 * 201 / 12) ** 0.5)
    assert rank_score(a, b) == -rank_score(b, a)


def test_inception_score_over_splits_of_torch_fidelity():
    scores = [inception_score(part) for part in LOGITS.softmax(1).chunk(10)]
    assert np.mean(scores) == pytest.approx(2.5135241064081653)
    assert np.std(scores) == pytest.approx(0.1599856, abs=1e-7)


def test_torchmetrics_agrees_where_it_computes_the_same():
    from torchmetrics.functional import image, scale_invariant_signal_distortion_ratio
    from torchmetrics.functional.text import perplexity

    from aigc.metrics.pairs import psnr, si_sdr, ssim

    generator = torch.manual_seed(0)
    a = torch.rand(3, 3, 48, 40, generator=generator)
    b = (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0, 1)
    theirs = image.peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert torch.allclose(psnr(a, b), theirs, atol=1e-4)
    theirs = image.structural_similarity_index_measure(a, b, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(a, b)[0].mean(1), theirs, atol=2e-3)  # it pads, see METRICS' traps
    sdr = scale_invariant_signal_distortion_ratio(b.flatten(1), a.flatten(1))
    assert torch.allclose(si_sdr(a.flatten(1), b.flatten(1)), sdr, atol=1e-4)
    logits = torch.from_numpy(np.random.RandomState(0).randn(2, 8, 11).astype("f4"))
    wanted = torch.from_numpy(np.random.RandomState(1).randint(0, 11, (2, 8)))
    assert float(perplexity(logits, wanted)) == pytest.approx(
        float(token_nats().mean().exp()), abs=1e-4
    )


def test_pairs_that_are_equal_have_no_distance():
    from aigc.metrics.pairs import log_mel, mr_stft, ms_ssim, ssim

    a = torch.rand(2, 1, 176, 176, generator=torch.manual_seed(0)).double()
    assert torch.allclose(ssim(a, a)[0], torch.ones(2, 1).double())
    assert torch.allclose(ms_ssim(a, a), torch.ones(2).double())
    wave = a[:, 0, 0, :].repeat(1, 8) - 0.5
    assert mr_stft(wave, wave).abs().max() == 0 and log_mel(wave, wave, 4000).abs().max() == 0


@pytest.mark.parametrize("name", ["snr", "si_sdr", "mr_stft", "log_mel", "psnr", "ssim"])
def test_more_noise_on_pairs_is_worse(name: str):
    from aigc.metrics.registry import Pairs

    generator = torch.manual_seed(0)
    a = torch.rand((2, 1, 32, 32) if name in ("psnr", "ssim") else (2, 1024), generator=generator)
    noise = torch.randn(a.shape, generator=generator).double()
    pairs = [Pairs(a.double(), a + s * noise, 4000) for s in (0.02, 0.1, 0.4)]
    values = [value(name, Evidence("image", pairs=pair)) for pair in pairs]
    assert worse(METRICS[name], values[0], values[1]) and worse(METRICS[name], values[1], values[2])


def test_repetitive_texts_are_less_diverse():
    """Each statistic of texts at none, a half and all of the texts being one sentence."""
    rng = np.random.RandomState(0)
    varied = [" ".join(f"w{i}" for i in rng.randint(200, size=12)) for _ in range(60)]
    for name in (
        "self_bleu_2",
        "self_bleu_4",
        "distinct_1",
        "distinct_2",
        "entropy_1",
        "entropy_2",
    ):
        sets = [varied[:k] + ["a b a b a b a b a b a b"] * (60 - k) for k in (60, 30, 0)]
        values = [value(name, Evidence("text", written=texts)) for texts in sets]
        assert worse(METRICS[name], values[0], values[1]), name
        assert worse(METRICS[name], values[1], values[2]), name
    looped = value("repetition_4", Evidence("text", written=["a b a b a b a b a b a b"]))
    assert looped == pytest.approx(1 - 2 / 9)


def test_entropy_is_that_of_scipy_and_rouge_reads_words():
    from scipy.stats import entropy as scipy_entropy

    from aigc.metrics.text import rouge

    words = [text.split() for text in TEXTS]
    counts = np.unique([w for text in words for w in text], return_counts=True)[1]
    assert entropy(words, 1) == pytest.approx(scipy_entropy(counts, base=2))
    assert rouge("The CAT, sat.", "the cat sat", 1) == 1
    assert rouge("c b a", "a b c", None) == pytest.approx(1 / 3)
    assert rouge("x", "y", 2) == 0
    worse_texts = ["x" * 5, *FOUND[1:]]
    for name in ("rouge_1", "rouge_2", "rouge_l", "chrf"):
        pair = [value(name, Evidence("text", continued=(f, WANTED))) for f in (FOUND, worse_texts)]
        assert pair[1] < pair[0]
        assert value(name, Evidence("text", continued=(WANTED, WANTED))) in (
            pytest.approx(1),
            pytest.approx(100),
        )


def test_likelihood_units():
    """Uniform 8-bit data cost 8 bits a dimension; a byte of text that costs ln 2 nats, one bit."""
    nats = torch.full((10,), 16 * float(np.log(256)))
    assert METRICS["bits_per_dim"].fn(Evidence("image", nats=nats, dims=16))[0] == pytest.approx(8)
    text = Evidence(
        "text", nats=torch.full((4,), 3 * float(np.log(2))), nbytes=torch.tensor([3] * 4)
    )
    assert METRICS["bits_per_byte"].fn(text)[0] == pytest.approx(1)


def test_rows_carry_their_protocol_and_skipped_ones_their_reason():
    rows = judge({"pca16@abc": features(Y)}, "digits/test#123", kind="none", given="class")
    by_name = {row["metric"]: row for row in rows}
    fd = by_name["fd"]
    assert fd["value"] == pytest.approx(1.2086676361760595)
    assert fd["protocol"] == "fd@1 digits/test#123 pca16@abc n=500 ref=500"
    assert 0.05 < fd["sd"] < 0.3
    likelihood = by_name["bits_per_dim"]
    assert (likelihood["status"], likelihood["value"]) == ("skipped", None)
    assert "needs nats" in likelihood["reason"]
    assert "bits_per_byte" not in by_name


def test_rows_of_a_network_carry_its_name_and_why_it_is_missing():
    evidence = Evidence("image", probs=LOGITS.softmax(1), by={"probs": "clf8-97%@abc"})
    evidence.missing["perceived"] = "but there is no file"
    rows = judge({"pca@1": evidence}, "x/test#1", names=["inception_score", "lpips"])
    assert rows[0]["extractor"] == "clf8-97%@abc"
    assert rows[0]["protocol"] == "inception_score@1 x/test#1 clf8-97%@abc n=500"
    assert rows[1]["reason"] == "needs perceived, but there is no file"


def test_what_is_computed_is_asked_for_by_name_or_by_class():
    shown = {m.name for m in chosen(None, "image")}
    assert {"fd", "kid", "c2st", "nn_ratio", "nfe"} <= shown
    assert not {"mauve", "fd_inf", "ssim", "latency_ms", "mmd"} & shown
    assert all(m.cost == "cheap" for m in chosen(None, "text"))
    assert [m.name for m in chosen(["mmd", "fd"], "image")] == ["fd", "mmd"]
    assert {m.name for m in chosen("slow", "text")} >= {"mauve", "self_bleu_4"}
    assert [m.name for m in chosen(["tail_recall"], "image")] == ["tail_recall"]
    every = [m.name for m in METRICS.values() if "image" in m.modalities and not m.by_class]
    assert [m.name for m in chosen("all", "image")] == every
    with pytest.raises(BadInput, match=r"unknown metric 'mauv'.*did you mean 'mauve'"):
        chosen(["mauv"], "image")


def test_too_few_examples_are_refused_not_scored():
    rows = judge({"pca16@abc": features(Y[:20])}, "x/test#1", names=["fd"])
    assert rows[0]["status"] == "skipped"
    assert rows[0]["reason"] == "needs at least 32 examples for 16 features, has 20"


def test_features_that_are_not_finite_are_told_not_scored():
    broken = Y.clone()
    broken[3, 2] = float("nan")
    rows = judge({"pca16@abc": features(broken)}, "x/test#1", names=["fd", "c2st", "precision"])
    assert {row["reason"] for row in rows} == {"features of the samples are not finite"}


def test_a_value_that_means_nothing_has_a_reason_instead():
    few = torch.arange(4.0, dtype=torch.float64).repeat(100)[:, None].expand(-1, 2)
    row = judge({"pca2@abc": features(few, few, train=few)}, "x/test#1", names=["nn_ratio"])[0]
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
    assert set(EXTRACTORS) >= {"randconv", "pca", "raw"}


def test_dimensions_leave_eight_examples_a_feature():
    assert [dims_for(n) for n in (10, 36, 64, 359, 512, 10_000)] == [2, 4, 8, 32, 64, 64]


def test_marginals_have_the_right_frequencies_and_a_normalised_likelihood():
    train = torch.tensor([[0, 2], [0, 1], [1, 2], [0, 2]])
    fit = Marginals(train, (2, 3))
    drawn_ids = fit.sample(20_000)
    assert (drawn_ids[:, 0] == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)
    every = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    assert fit.nats(every).neg().exp().sum().item() == pytest.approx(1)


def test_the_gaussian_fit_has_mean_and_covariance_of_the_data():
    generator = torch.manual_seed(0)
    z = torch.randn(5000, 1, generator=generator)
    train = (50 + 8 * torch.cat([z, 0.8 * z + 0.6 * torch.randn(5000, 1)], 1)).round().long()
    found = GaussianFit(train, 101).sample(20_000).double()
    assert torch.allclose(found.mean(0), train.double().mean(0), atol=0.4)
    assert torch.allclose(torch.cov(found.T), torch.cov(train.double().T), rtol=0.06)


def test_smote_stays_between_a_row_and_a_neighbour_of_its_class():
    train = torch.tensor([[0, 0], [10, 1], [20, 0], [80, 2], [90, 2], [50, 3]])
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    ids, labels = Smote(train, y, (101, 4), (True, False)).sample(400, seed=1)
    assert ids.shape == (400, 2) and set(labels.tolist()) == {0, 1, 2}
    low, high = torch.tensor([0, 80, 50])[labels], torch.tensor([20, 90, 50])[labels]
    assert ((ids[:, 0] >= low) & (ids[:, 0] <= high)).all()
    assert len(ids[labels == 0, 0].unique()) > 10  # new values, not copies
    assert set(ids[labels == 1, 1].tolist()) == {2}  # a category is one of both rows'
    assert (ids[labels == 2] == train[5]).all()  # alone in its class: itself
    again, _ = Smote(train, y, (101, 4), (True, False)).sample(400, seed=1)
    assert torch.equal(ids, again)


def test_smote_without_labels_uses_the_five_nearest():
    train = torch.arange(100)[:, None]
    ids, labels = Smote(train, None, (100,), (True,)).sample(2000)
    assert labels is None
    counts = ids.flatten().bincount(minlength=100)
    assert (counts > 0).float().mean() > 0.95


def test_a_label_that_is_a_column_too_is_not_predicted_from_itself():
    y = torch.arange(600) % 2
    noise = torch.randint(9, (600, 2), generator=torch.Generator().manual_seed(0))
    x = torch.cat([noise, 1 - y[:, None]], 1)
    rows = Rows(x, x.flip(0), x, (True, True, False), (y, y.flip(0), y))
    score = METRICS["tstr"].fn(Evidence("tabular", rows=rows)).value
    assert score < 0.75  # what trees remember of noise, and not 1
    assert METRICS["tstr"].version == 2
