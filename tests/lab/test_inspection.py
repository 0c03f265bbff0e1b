"""What `aigc inspect` says of runs whose inside is known, and that it runs on every cell."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import aigc as package
from aigc.lab.inspection.look import Look
from aigc.lab.inspection.probes import captured, components, logistic, longest, pooled
from aigc.lab.inspection.tokens import surprisal
from aigc.lab.latents import kl_by_dimension
from aigc.nets.transformer import Attention, Rotary

CELLS = [
    ("vae", "image", {"code", "traversal", "attributes", "probes"}),
    ("gan", "tabular", {"traversal", "probes"}),
    ("diffusion", "image", {"probes"}),
    ("autoregressive", "text", {"surprisal", "attention"}),
]
MORE = [
    ("vae", "text", {"code", "traversal"}),
    ("vae", "audio", {"code", "traversal", "attributes", "probes"}),
    ("vae", "tabular", {"code", "traversal", "attributes", "probes"}),
    ("gan", "image", {"traversal", "probes"}),
    ("gan", "audio", {"traversal", "probes"}),
    ("diffusion", "tabular", {"probes"}),
    ("masked_diffusion", "tabular", {"probes", "attention"}),
    ("autoregressive", "image", {"probes", "surprisal", "attention"}),
    ("autoregressive", "audio", {"probes", "surprisal", "attention"}),
    ("autoregressive", "tabular", {"probes", "surprisal", "attention"}),
]


@pytest.mark.parametrize(
    ("model", "modality", "parts"),
    CELLS + [pytest.param(*cell, marks=pytest.mark.slow) for cell in MORE],
)
def test_each_kind_of_run_shows_what_it_has(smoke, aigc, model: str, modality: str, parts: set):
    run = smoke(f"model={model}", f"modality={modality}")
    code, out, err = aigc("inspect", f"run={run}", "n=60")
    assert code == 0, err
    page = Path(out.strip())
    found = json.loads((page.parent / "inspect.json").read_text())
    assert set(found["parts"]) == parts and found["protocol"]["n"] == 60
    text = page.read_text()
    assert "http" not in text.split("</style>")[1].replace("http://www.w3.org", "")
    assert list(page.parent.glob("*.png")) or modality == "text"


def test_factors_are_scored_and_a_study_has_a_page(smoke, aigc):
    words = ["model=vae", "dataset=shapes", "modality=image", "study=inside", "model.latent=4"]
    runs = [smoke(*words, f"model.beta={beta}") for beta in (1, 4)]
    code, out, err = aigc("inspect", f"run={runs[0].parent}", "n=60", "what=[code,factors]")
    assert code == 0, err
    assert "2/2" in err and "beta 4" in Path(out.split()[-1]).read_text()
    numbers = json.loads((runs[0] / "inspect" / "inspect.json").read_text())["parts"]
    assert numbers["factors"].keys() >= {"mig", "sap", "dci_disentanglement"}
    code = numbers["code"]
    assert code["rate_nats"] == pytest.approx(sum(code["kl_nats"]), rel=1e-4)
    assert code["active_units"] == sum(v > 0.01 for v in code["variance_of_code"])


def test_mistakes_are_one_line(smoke, aigc):
    run = smoke("model=diffusion")
    for words, line in (
        ([], "say which run"),
        ([f"run={run}", "what=[prbes]"], "did you mean 'probes'"),
        ([f"run={run}", "what=[traversal]"], "nothing of that can be seen in a diffusion"),
        ([f"run={run}", "whta=[probes]"], "unknown setting 'whta'.*did you mean 'what'"),
        ([f"run={run}", "n=3"], "n=3: at least 20"),
        (["run=/no/such"], "not a run folder"),
    ):
        code, _, err = aigc("inspect", *words)
        assert code == 2 and re.search(line, err) and err.count("\n") == 1, err
    assert "aigc inspect run=DIR" in aigc("inspect", "--help")[1]


def test_kl_of_each_dimension_sums_to_that_of_torch():
    mean, log_var = torch.randn(2, 50, 3)
    posterior = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    wanted = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(kl_by_dimension(mean, log_var), wanted.mean(0), atol=1e-5)


def test_a_probe_reads_what_is_linear_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1200, 2, generator=generator) * torch.tensor([1.0, 50.0]) + 7
    line = x[:, 0] - x[:, 1] / 50 > 7 - 7 / 50
    score, direction = logistic(x[:600], line[:600], x[600:], line[600:])
    assert score > 0.97
    wanted = torch.tensor([1.0, -1 / 50])
    assert torch.cosine_similarity(direction, wanted, dim=0) > 0.999
    a, b = (x - x.mean(0)).T
    cross = a * b > 0
    assert logistic(x[:600], cross[:600], x[600:], cross[600:])[0] < 0.6


def test_components_keep_the_distances_of_data_in_a_plane():
    x = torch.randn(100, 2) @ torch.randn(2, 9) + 3
    a, b = components(x[:60], x[60:])
    assert torch.allclose(torch.cdist(a[:, :2], b[:, :2]), torch.cdist(x[:60], x[60:]), atol=1e-4)


def test_hooks_see_what_a_layer_gives_and_leave_no_trace():
    net = nn.ModuleDict({"few": nn.ModuleList([nn.Linear(2, 2)]), "many": nn.ModuleList()})
    net["many"].extend([nn.Linear(2, 3), nn.ReLU()])
    layer = longest(net)[0]
    x = torch.randn(4, 2)
    with captured(layer) as seen:
        out = layer(x)
    assert seen[0] is out and not layer._forward_hooks
    h = torch.randn(2, 3, 5)
    assert torch.equal(pooled(h, 1), h.mean(1)) and torch.equal(pooled(h, -1), h.mean(2))


def test_surprisal_is_the_likelihood(smoke):
    run = package.load(smoke("model=autoregressive", "modality=tabular"))
    look = Look(run, 40, 0)
    x = run.model.view.encode(look.ids)
    with torch.no_grad():
        nats = run.model.nats(x, look.y).mean()
    bits = surprisal(look).numbers["bits_per_token"]
    assert package.inspect(run, "n=40", "what=[surprisal]")["surprisal"]["bits_per_token"] == bits
    assert bits * x.shape[1] * np.log(2) == pytest.approx(float(nats), rel=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_weights_are_those_that_are_used(causal: bool):
    torch.manual_seed(0)
    layer = Attention(32, 2, Rotary(6, 16), causal)
    x = torch.randn(3, 6, 32)
    weights = layer.weights(x)
    v = layer.qkv(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)[2]
    out = layer.out((weights @ v).transpose(1, 2).flatten(2))
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 6), atol=1e-5)
    assert torch.allclose(out, layer(x), atol=1e-5)
