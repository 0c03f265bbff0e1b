"""All cells: train, reload, sample, evaluate; what a run leaves is what is promised."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

import aigc
from aigc.lab.conf import compose, run_words
from aigc.lab.evaluation import evaluate
from aigc.runs import RunDir

CELLS = list(
    product(
        (
            "autoregressive",
            "diffusion",
            "masked_diffusion",
            "uniform_diffusion",
            "vae",
            "vqvae",
            "gan",
        ),
        ("text", "image", "audio", "tabular"),
    )
)
FIELDS = {
    *("metric", "value", "sd", "n", "n_ref", "extractor", "kind", "sampler", "nfe", "seed"),
    *("protocol", "status", "reason", "seconds"),
}
FAST = ["trainer.preview=8"]


def cell(smoke, family: str, modality: str) -> Path:
    words = [f"model={family}", f"modality={modality}", *FAST]
    if modality == "audio":
        words.append("modality.codec.length=256")
    if "diffusion" in family:
        words += ["sampler.steps=5", "model.terms=5"]
    return smoke(*words)


@pytest.mark.parametrize(("family", "modality"), CELLS)
def test_a_cell(smoke, family: str, modality: str):
    folder = cell(smoke, family, modality)
    assert folder.parents[0].name == "default"
    for name in ("config.yaml", "env.json", "log.csv", "checkpoints/model.safetensors"):
        assert (folder / name).is_file(), name
    assert any((folder / "samples" / "preview").iterdir())

    # a reload gives the samples that the trained model gave
    run = aigc.load(folder)
    preview = np.load(folder / "samples" / "preview" / "ids.npz")
    samples = run.sample(8)
    assert np.array_equal(samples.ids.numpy(), preview["ids"][:8])
    levels = torch.tensor(run.codec.space.levels).expand(run.codec.space.shape)
    assert ((samples.ids >= 0) & (samples.ids < levels)).all()
    assert len(samples.data) == 8

    config = compose("evaluate", [f"run={folder}", "n=32", *run_words(run.config, [])])
    evaluate(run, config)
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert all(set(row) >= FIELDS for row in rows)
    by_name = {row["metric"]: row for row in rows}
    for name in ("fd", "precision", "recall", "density", "coverage", "c2st", "nfe"):
        assert by_name[name]["status"] == "ok", by_name[name]["reason"]
        assert np.isfinite(by_name[name]["value"])
    likelihood = by_name["bits_per_byte" if modality == "text" else "bits_per_dim"]
    kinds = {"autoregressive": "exact", "gan": "none"}
    assert likelihood["kind"] == kinds.get(family, "bound")
    assert (likelihood["status"] == "skipped") == (family == "gan")
    references = RunDir(folder).rows("references.jsonl")
    own = {"smote"} if modality == "tabular" else set()
    assert {r["of"] for r in references} == {"real", "marginals", "gaussian", "copies"} | own


def test_evaluating_again_replaces_rows_and_other_seeds_add(smoke):
    folder = cell(smoke, "vae", "tabular")
    run = aigc.load(folder)

    def rows(*words: str) -> list[dict]:
        base = [f"run={folder}", "n=40", "metrics=[fd]", *run_words(run.config, [])]
        return evaluate(run, compose("evaluate", [*base, *words])).rows()

    first = rows()
    again = rows()
    assert len(again) == len(first)
    assert [r["value"] for r in again] == [r["value"] for r in first]
    assert len(rows("seed=1")) == len(first) + 2  # two extractors


def test_function_evaluations_are_counted(smoke):
    wanted = {"autoregressive": 64, "diffusion": 5, "masked_diffusion": 5, "vae": 1, "gan": 1}
    for family, nfe in wanted.items():
        rows = RunDir(cell(smoke, family, "image")).rows()
        assert {row["nfe"] for row in rows} == {nfe}
