"""Values that every registered metric must give: of reference libraries, closed forms, or counted
by hand. A metric without an entry here fails the build (see test_golden.py).

Recipe R0: drawn in this order from a generator that numpy keeps frozen. X is real, Y generated,
Z of the same law as X.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from aigc.metrics.registry import Evidence, Judged, Pairs, Rows

_r = np.random.RandomState(0)
_drawn = [
    _r.randn(500, 16),
    _r.randn(500, 16) * 1.1 + 0.2,
    _r.randn(500, 16),
    _r.randn(500, 10) * 2,
]
X, Y, Z, LOGITS = (torch.from_numpy(a) for a in _drawn)


def drawn(seed: int, n: int) -> torch.Tensor:
    """`(n, 16)` of X's law."""
    return torch.from_numpy(np.random.RandomState(seed).randn(n, 16))


def features(gen: torch.Tensor = Y, ref: torch.Tensor = X, train: torch.Tensor = Z) -> Evidence:
    """Evidence of sets of features."""
    return Evidence("image", gen, ref, train, dims=16)


class Golden(NamedTuple):
    """What `metric` gives for `evidence`, to within `tol`, and who says so."""

    metric: str
    evidence: Callable[[], Evidence]
    value: float
    tol: float
    oracle: str


def _pictures() -> Evidence:
    r = np.random.RandomState(0)
    a = r.rand(2, 3, 192, 192).astype("f4")
    b = np.clip(a + 0.1 * r.randn(2, 3, 192, 192).astype("f4"), 0, 1)
    return Evidence(
        "image", pairs=Pairs(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    )


def _sounds() -> Evidence:
    s = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype("f4")
    n = (0.1 * np.random.RandomState(0).randn(16000)).astype("f4")
    pair = (torch.from_numpy(x).double()[None] for x in (s, s + n))
    return Evidence("audio", pairs=Pairs(*pair, 16000))


def token_nats() -> torch.Tensor:
    """Cross entropies `(2, 8)` of R0's logits of 11 tokens."""
    logits = torch.from_numpy(np.random.RandomState(0).randn(2, 8, 11).astype("f4")).double()
    wanted = torch.from_numpy(np.random.RandomState(1).randint(0, 11, (2, 8)))
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")


def _tokens(kept: int) -> Evidence:
    nats = token_nats()[:, :kept].sum(1)
    return Evidence("text", nats=nats, tokens=torch.tensor([kept, kept]))


FOUND = ["the cat sat on the mat", "there is a dog in the garden today", "a quick brown fox jumps"]
WANTED = [
    "the cat is on the mat",
    "a dog is in the garden today",
    "the quick brown fox jumped over",
]
TEXTS = ["a b c d e f", "a b c x y z", "a b c d y z", "q r s t u v"]


def _continued(n: int = 3) -> Evidence:
    return Evidence("text", continued=(FOUND[:n], WANTED[:n]))


def _written(texts: list[str] = TEXTS) -> Evidence:
    return Evidence("text", written=texts)


def _judged() -> Evidence:
    tokens = torch.tensor([3, 5])
    nats = tokens.double() * np.log(11)
    return Evidence("text", judged=Judged(nats, tokens, torch.tensor([1.0, 2.0]), 2))


def _zipf() -> Evidence:
    """The word of rank k stands 60 / k times, so that the exponent is 1."""
    words = [w for k in (1, 2, 3, 4, 5, 6) for w in [f"w{k}"] * (60 // k)]
    return Evidence("text", written=[" ".join(words)])


def _classes(rows: list[int], ref: list[int]) -> Evidence:
    one_hot = torch.eye(4, dtype=torch.float64)
    return Evidence("image", probs=one_hot[rows], ref_probs=one_hot[ref])


def _scored(probs: torch.Tensor) -> Evidence:
    return Evidence("image", probs=probs)


def _table() -> Rows:
    """Two ordered columns and a category. The first moves by one of five levels in a fifth of the
    rows; the category goes from half and half to three quarters."""
    a = torch.arange(200)
    ref = torch.stack([a % 5, a % 5, a % 2], 1)
    gen = torch.stack([torch.where(a < 40, (a % 5 + 1).clamp(max=4), a % 5), a % 5, (a % 4 > 0)], 1)
    return Rows(gen, ref, ref, (True, True, False))


def _table_evidence() -> Evidence:
    return Evidence("tabular", rows=_table())


def _pairs_table() -> Evidence:
    """Two equal columns and their category, of which the second is drawn afresh: its correlation
    falls from 1 to 0, and half of each joint law moves."""
    a = torch.arange(200)
    ref = torch.stack([a % 2, a % 2, a % 2], 1)
    gen = torch.stack([a % 2, a // 2 % 2, a // 4 % 2], 1)
    return Evidence("tabular", rows=Rows(gen, ref, ref, (True, True, False)))


def _predictable(labels: int) -> Evidence:
    """The label is the first column; generated labels are right, or all zero."""
    x = torch.arange(400)[:, None].expand(-1, 2) % 2
    y = x[:, 0]
    rows = Rows(x, x, x, (True, True), (y * labels, y, y))
    return Evidence("tabular", rows=rows)


def _one_of(seed: int, shift: float = 0.0) -> torch.Tensor:
    return drawn(seed, 300) + shift


def _by_class() -> Evidence:
    """Two classes that lie far apart; the model gives back the reference examples."""
    x, y = torch.cat([X[:100], X[100:200] + 20]), torch.arange(200) // 100
    return Evidence("image", x, x, x, gen_y=y, ref_y=y, train_y=y)


def _cost(name: str) -> Evidence:
    return Evidence("image", cost={name: 3.0})


def _simplex(n: int) -> torch.Tensor:
    """24 examples, evenly one of `n` orthogonal directions of eight."""
    return torch.eye(8, dtype=torch.float64)[torch.arange(24) % n]


_train_copy = torch.cat([X[:250], Y[:250]])
LN2 = float(np.log(2))

GOLDEN = [
    Golden("fd", features, 1.2086676361760595, 1e-9, "pytorch-fid, clean-fid, torch-fidelity"),
    Golden("fd", lambda: features(X), 0.0, 1e-6, "identity"),
    Golden("fd_inf", features, 0.8, 0.25, "closed form |m|^2 + d (1 - s)^2 of the laws"),
    Golden("kid", features, 0.1597138270998264, 1e-12, "torch-fidelity, clean-fid"),
    Golden("mmd", features, 0.01412735069378912, 1e-12, "formula, NumPy"),
    Golden("kad", features, 1.412735069378912, 1e-10, "formula, NumPy"),
    Golden("sliced_w2", features, 0.2703387349473154, 1e-12, "formula, NumPy"),
    Golden("energy", features, 0.15288583986179383, 1e-9, "formula, NumPy"),
    Golden("c2st", features, 0.655, 0.01, "scikit-learn"),
    Golden("c2st", lambda: features(Z), 0.491, 0.01, "scikit-learn"),
    Golden("c2st_knn", features, 0.571, 0.01, "scikit-learn"),
    Golden("c2st_knn", lambda: features(Z), 0.523, 0.01, "scikit-learn"),
    Golden("c2st_trees", lambda: features(X + 20), 1.0, 1e-9, "two sets that do not touch"),
    Golden("precision", features, 0.746, 1e-12, "prdc"),
    Golden("recall", features, 0.926, 1e-12, "prdc"),
    Golden("density", features, 0.644, 1e-12, "prdc"),
    Golden("coverage", features, 0.866, 1e-12, "prdc"),
    Golden("precision", lambda: features(Z), 0.852, 1e-12, "prdc"),
    Golden("recall", lambda: features(Z), 0.894, 1e-12, "prdc"),
    Golden("density", lambda: features(Z), 0.9872, 1e-12, "prdc"),
    Golden("coverage", lambda: features(Z), 0.958, 1e-12, "prdc"),
    Golden("vendi", lambda: features(_simplex(6), _simplex(2)), 3.0, 1e-9, "closed form 6 / 2"),
    Golden("mauve", lambda: features(X + 20), 5 * 120 * 24 / 3628800, 1e-3, "5 B(6, 5): disjoint"),
    Golden("mauve", lambda: features(X), 1.0, 1e-3, "identity"),
    Golden("nn_ratio", lambda: features(Z), 0.0, 1e-12, "identity"),
    Golden("auth_pct", lambda: features(Y, X, X), 77.4, 1e-9, "dgm-eval"),
    Golden("auth_pct", lambda: features(_train_copy, Z, X), 38.0, 1e-9, "dgm-eval"),
    Golden("auth_pct", lambda: features(X + 1e-6, Z, X), 0.0, 1e-9, "closed form"),
    Golden("c_t", lambda: features(Y[:300], _one_of(2), X), 5.370952, 1e-6, "formula, SciPy"),
    Golden("c_t", lambda: features(X[:300] + 0.05, _one_of(2), X), -21.195548, 1e-6, "formula"),
    Golden("c_t", lambda: features(_one_of(3), _one_of(2), X), 0.840757, 1e-6, "formula, SciPy"),
    Golden("dcr", lambda: features(Z, X, Z), 1.0, 1e-12, "copies of the training data"),
    Golden("membership", lambda: features(Z, X, Z), 1.0, 1e-12, "copies of the training data"),
    Golden("modes", lambda: _classes([0, 0, 2], [0, 1, 2, 2]), 2.0, 0, "counted"),
    Golden("modes_kl", lambda: _classes([0, 0], [0, 1]), LN2, 1e-12, "closed form ln 2"),
    Golden("inception_score", lambda: _scored(LOGITS.softmax(1)), 2.580835672078918, 1e-12,
           "torch-fidelity"),
    Golden("inception_score", lambda: _scored(torch.eye(10).repeat(5, 1)), 10.0, 1e-9,
           "closed form, balanced one-hot classes"),
    Golden("inception_score", lambda: _scored(torch.full((50, 10), 0.1)), 1.0, 1e-6,
           "closed form, constant"),
    Golden("bits_per_dim", lambda: Evidence("image", nats=torch.full((9,), 16 * 8 * LN2), dims=16),
           8.0, 1e-6, "uniform 8-bit data"),
    Golden("bits_per_byte", lambda: Evidence("text", nats=torch.full((4,), 3 * LN2),
           nbytes=torch.tensor([3] * 4)), 1.0, 1e-6, "ln 2 nats a byte"),
    Golden("perplexity", lambda: _tokens(8), 16.934502414, 1e-8, "float64 exp of cross entropy"),
    Golden("perplexity", lambda: _tokens(5), 23.0586507, 1e-6, "the same, the last three masked"),
    Golden("perplexity", lambda: Evidence("text", nats=torch.full((2,), 4 * np.log(50257)),
           tokens=torch.tensor([4, 4])), 50257.0, 0.1, "uniform over the vocabulary"),
    Golden("generative_perplexity", _judged, 11.0, 1e-9, "uniform over 11 tokens"),
    Golden("token_entropy", _judged, 1.5, 1e-12, "mean"),
    Golden("bleu_1", _continued, 78.94736842, 1e-7, "sacrebleu, torchmetrics, nltk"),
    Golden("bleu_2", _continued, 66.63924875, 1e-7, "sacrebleu, torchmetrics, nltk"),
    Golden("bleu_3", _continued, 51.50613257, 1e-7, "sacrebleu, torchmetrics, nltk"),
    Golden("bleu_4", _continued, 34.18961466, 1e-7, "sacrebleu, torchmetrics, nltk"),
    Golden("chrf", _continued, 70.14559707, 1e-7, "sacrebleu"),
    Golden("rouge_1", lambda: _continued(1), 5 / 6, 1e-7, "rouge-score"),
    Golden("rouge_2", lambda: _continued(1), 0.6, 1e-7, "rouge-score"),
    Golden("rouge_l", lambda: _continued(1), 5 / 6, 1e-7, "rouge-score"),
    Golden("self_bleu_2", _written, 0.5584973760550348, 1e-9, "nltk method 1, fast-bleu"),
    Golden("self_bleu_4", _written, 0.3416185504258189, 1e-9, "nltk method 1, fast-bleu"),
    Golden("distinct_1", _written, 0.625, 1e-12, "counted"),
    Golden("distinct_2", _written, 0.7, 1e-12, "counted"),
    Golden("entropy_1", _written, 3.7406015630, 1e-9, "SciPy"),
    Golden("entropy_2", _written, 3.6464393447, 1e-9, "SciPy"),
    Golden("repetition_4", lambda: _written(["a b c d a b c d", "a b c d e f g h"]), 0.1, 1e-12,
           "counted: one of five and none of five"),
    Golden("zipf", _zipf, 1.0, 1e-9, "closed form"),
    Golden("psnr", _pictures, 20.5051436, 1e-5, "piq; torchmetrics to 2e-6"),
    Golden("ssim", _pictures, 0.9460006, 1e-6, "piq; pytorch-msssim to 1e-7"),
    Golden("ms_ssim", _pictures, 0.9566217, 1e-6, "pytorch-msssim"),
    Golden("lpips", lambda: Evidence("image", perceived=torch.tensor([0.1, 0.3])), 0.2, 1e-7,
           "a mean; the network is tested in test_pretrained"),
    Golden("snr", _sounds, 17.080477, 1e-4, "torchmetrics"),
    Golden("si_sdr", _sounds, 17.084375, 1e-4, "torchmetrics"),
    Golden("mr_stft", _sounds, 8.070821, 1e-4, "auraloss"),
    Golden("log_mel", _sounds, 12.177774, 1e-4, "torchaudio"),
    Golden("column_shapes", _table_evidence, np.mean([1 - 8 / 200, 1.0, 0.75]), 1e-9, "by hand"),
    Golden("pair_trends", _pairs_table, np.mean([1 - 0.5, 0.5, 0.5]), 1e-9, "by hand"),
    Golden("tail_recall", _by_class, 1.0, 1e-12, "identity"),
    Golden("tail_coverage", _by_class, 1.0, 1e-12, "identity"),
    Golden("accuracy_synthetic", _by_class, 1.0, 1e-12, "classes that a plane parts"),
    Golden("accuracy_real", _by_class, 1.0, 1e-12, "classes that a plane parts"),
    Golden("accuracy_gain", _by_class, 0.0, 1e-12, "nothing to gain"),
    Golden("tstr", lambda: _predictable(1), 1.0, 1e-12, "a label that is a column"),
    Golden("tstr", lambda: _predictable(0), 0.5, 1e-12, "always the same answer"),
    Golden("tstr_ratio", lambda: _predictable(0), 0.5, 1e-12, "0.5 / 1"),
    *(
        Golden(name, lambda name=name: _cost(name), 3.0, 0, "what was measured")
        for name in (
            *("samples_per_second", "nfe", "parameters", "train_seconds"),
            *("latency_ms", "peak_mb", "train_flops", "energy_j"),
        )
    ),
]  # fmt: skip
