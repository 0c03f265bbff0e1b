"""The command line: what it prints, and one clear line for every mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aigc.runs import RunDir

SMOKE = ["budget=smoke", "trainer.validations=2", "trainer.preview=8"]


@pytest.fixture(scope="module")
def vae(smoke) -> str:
    return str(smoke("model=vae", "study=untouched", "trainer.preview=8"))


def test_train_sample_evaluate_compare(aigc, tmp_path: Path):
    code, out, _ = aigc("train", "model=vae", "study=cli", *SMOKE)
    folder = Path(out.strip().splitlines()[-1])
    assert code == 0 and (folder / "config.yaml").is_file()
    code, out, err = aigc("train", "model=vae", "study=cli", *SMOKE)
    assert code == 0 and out.strip() == str(folder) and "already trained" in err

    target = tmp_path / "out"
    words = [f"run={folder}", "n=20", "seed=5", "y=3", "sampler=prior", f"out={target}"]
    code, out, _ = aigc("sample", *words, "batch_size=7")
    assert code == 0 and out.strip() == str(target)
    stored = np.load(target / "ids.npz")
    assert stored["ids"].shape == (20, 1, 8, 8) and (stored["y"] == 3).all()
    assert (target / "grid.png").is_file()
    aigc("sample", *words[:-1], f"out={tmp_path / 'again'}")
    assert np.array_equal(np.load(tmp_path / "again" / "ids.npz")["ids"], stored["ids"])

    code, out, _ = aigc("evaluate", f"run={folder}", "n=40", "sampler.components=2")
    assert code == 0
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert {row["sampler"] for row in rows} == {"mixture components=2 noise=True"}

    code, out, _ = aigc("compare", str(folder.parent), "--out", str(tmp_path / "page"))
    assert code == 0
    page = (tmp_path / "page" / "compare.html").read_text()
    assert "VAE" in page and "http" not in page.split("</style>")[1]
    for name in ("compare.csv", "compare.tex", "compare.png"):
        assert (tmp_path / "page" / name).stat().st_size > 200


def test_a_sweep_trains_each_cell(aigc):
    one = "hydra.launcher.jobs=1"  # with as many threads as a run alone: the same bits
    code, out, _ = aigc("train", "-m", "model=vae", "study=sweep", "seed=0,1", one, *SMOKE)
    folders = [line for line in out.splitlines() if "sweep" in line and "vae" in line]
    assert code == 0 and len(set(folders)) == 2
    code, again, err = aigc("train", "-m", "model=vae", "study=sweep", "seed=0,1", *SMOKE)
    assert code == 0 and again == out and "2 of 2 done (2 before)" in err
    code, alone, _ = aigc("train", "model=vae", "study=alone", "seed=1", *SMOKE)
    assert code == 0 and _weights(alone.strip()) == _weights(folders[1])  # bit for bit
    assert all((Path(f) / "checkpoints" / "model.safetensors").is_file() for f in folders)
    study = Path(folders[0]).parent
    code, out, err = aigc("evaluate", f"run={study}")
    assert code == 0 and out.split() == sorted(set(folders)) and "2/2" in err
    assert all((Path(f) / "results.jsonl").is_file() for f in folders)
    code, out, err = aigc("evaluate", f"run={study}")
    assert code == 0 and out.split() == sorted(set(folders)) and "2/2" not in err


def _weights(folder: str) -> str:
    return RunDir(folder).status["weights"]


def test_a_sweep_says_what_failed_and_why(aigc):
    words = ["model=vae", "study=half", "trainer.decay=cosine,linear", *SMOKE]
    code, out, err = aigc("train", "-m", *words)
    assert code == 1 and len(out.split()) == 1
    assert "failed  trainer.decay=linear: unknown trainer.decay 'linear'" in err
    assert err.strip().endswith("1 of 2 cells are not done; the same command tries them again")
    code, out, _ = aigc("sweep", "status", "half")
    assert code == 1 and "2 cells, 1 done, 1 failed" in out and "unknown trainer.decay" in out
    code, out, _ = aigc("sweep", "table", "half", "val/loss")
    assert code == 0 and "cosine" in out and "val/loss" in out
    rows = Path(out.strip().splitlines()[-1].split()[0]).read_text().splitlines()
    assert rows[0] == "run,trainer.decay,state,examples,seconds,val/loss,reason"
    assert [row.split(",")[2] for row in rows[1:]] == ["done", "failed"]


@pytest.mark.parametrize("seed", [0, 1])  # the second in the same process has files of its own
def test_loggers_come_on_top_of_the_log(aigc, seed: int):
    words = ["model=vae", f"seed={seed}", "study=loggers", "logger=[tensorboard,wandb]", *SMOKE]
    code, out, _ = aigc("train", *words)
    folder = Path(out.strip().splitlines()[-1])
    assert code == 0
    assert (folder / "log.csv").read_text().startswith("examples,seconds,name,value")
    assert list(folder.rglob("events.out.tfevents*"))
    assert list(folder.rglob("offline-run-*"))


@pytest.mark.parametrize(
    "kind", ["datasets", "models", "samplers", "metrics", "nets", "experiments", "sweeps"]
)
def test_list(aigc, kind: str):
    code, out, _ = aigc("list", kind)
    assert code == 0
    wanted = {
        "datasets": "digits", "models": "autoregressive", "samplers": "ddim",
        "metrics": "coverage", "nets": "net/denoiser=unet", "experiments": "tinyshakespeare_cpu",
        "sweeps": "hydra/sweeper=optuna",
    }  # fmt: skip
    assert wanted[kind] in out


def test_a_list_is_remembered_until_its_files_change(tmp_path, monkeypatch):
    import sys

    from aigc.lab import listing

    monkeypatch.setenv("AIGC_CACHE", str(tmp_path))
    monkeypatch.delitem(sys.modules, "aigc.metrics.suite", raising=False)
    told = []

    def make():
        told.append(1)
        return ["metric"], [["fd"]]

    for _ in range(2):
        assert listing.remembered(make, "metrics", "aigc.metrics.suite")[1] == [["fd"]]
    assert len(told) == 1
    kept = tmp_path / "list-metrics.json"
    kept.write_text(kept.read_text().replace("features.py", "other.py"))
    listing.remembered(make, "metrics", "aigc.metrics.suite")
    kept.write_text("damaged")
    listing.remembered(make, "metrics", "aigc.metrics.suite")
    assert len(told) == 3


def test_doctor(aigc):
    code, out, _ = aigc("doctor")
    assert code == 0
    for word in ("python", "torch", "gpu", "data root", "runs", "optuna"):
        assert word in out


@pytest.mark.parametrize("task", ["train", "sample", "evaluate"])
def test_help_of_a_task(aigc, task: str):
    code, out, _ = aigc(task, "--help")
    assert code == 0 and f"aigc {task}" in out and "sampler" in out
    assert "aigc train" in aigc("--help")[1]
    assert aigc("--version")[1].startswith("aigc 0.")


BAD = {
    "verify": "verify takes folders of runs",
    "verify nowhere": "nowhere holds no run: verify takes folders",
    "trian": "unknown task 'trian'.*did you mean 'train'",
    "train model=difusion": "unknown model 'difusion'.*did you mean 'diffusion'",
    "train modality=imge": "unknown modality 'imge'.*did you mean 'image'",
    "train experiment=tinyshakespear_cpu": "did you mean 'tinyshakespeare_cpu'",
    "train seed=abc": "'abc' of type 'str' could not be converted to Integer",
    "train seed=[1,2": "cannot read",
    "train foo=1": "unknown setting 'foo'",
    "train model.latnt=3 model=vae": "unknown setting 'latnt' in 'model'.*did you mean 'latent'",
    "train model.predict=xx": "model.predict=xx: should be one of eps, x0, v",
    "train optimizer.lr=fast": "optimizer.lr=fast: should be a number",
    "train sampler.steps=abc": "sampler.steps=abc: should be a whole number",
    "train sampler.steps=0": "sampler.steps=0: at least 1",
    "train sampler=prior": "sampler 'prior' does not sample a diffusion: choose from adaptive",
    "train view=tokens": "view=tokens: diffusion needs floats",
    "train model=autoregressive view=grid": "view=grid: autoregressive needs tokens",
    "train view=grd": "unknown view 'grd'.*did you mean 'grid'",
    "train dataset=wine": "dataset 'wine' is tabular: use modality=tabular",
    "train logger=tensorboard logger.tensorboard._target_=no.such": "there is no class no.such",
    "train net.denoiser.width=wide": "net.denoiser.width=wide: should be a whole number",
    "train -m strategy=ddp_cpu seed=0,1 hydra/launcher=basic": "use hydra/launcher=process",
    "train -m strategy=ddp_cpu seed=0,1 hydra/launcher=joblib": "trains a cell in one process",
    "train -m strategy=ddp seed=0,1 hydra/launcher=submitit": "strategy.devices=N",
    "train -m strategy.nodes=2 seed=0,1": "use hydra/launcher=submitit",
    "train -m seed=0,1 hydra.launcher.jobs=0": "hydra.launcher.jobs=0.*at least 1",
    "train -m seed=0,1 hydra/launcher=proces": "unknown hydra/launcher 'proces'.*'process'",
    "train -m seed=0 hydra/sweeper=random": "nothing to search",
    "train -m seed=0,1 hydra/sweeper=random hydra/launcher=basic": "needs hydra/launcher=process",
    "sweep status /no/such": "no sweep in /no/such",
    "sweep": "sweep: aigc sweep status DIR.STUDY",
    "sweep tabel VAE": "unknown task of sweep 'tabel'.*did you mean 'table'",
    "train budget.examples=0": "budget.examples=0: at least 1",
    "train study=a/b": "study=a/b: a plain folder name",
    "train trainer.decay=linear": "unknown trainer.decay 'linear'",
    "train modality.codec.levels=1": "an image has 2 to 256 levels",
    "train model=vae model.likelihood=gausian": "unknown likelihood",
    "train dataset=csv modality=tabular": "dataset=csv needs dataset.path",
    "train dataset=csv modality=tabular dataset.path=/no.csv": "dataset.path=/no.csv does not",
    "train plugins=[no_such_module]": "plugins: cannot import 'no_such_module'",
    "train model=null": "model= needs a choice: autoregressive, ",
    "train model=vae,gan": "model=vae,gan: several values are a sweep, which needs -m",
    "train model": "cannot read 'model': settings are written name=value",
    "train logger=[csv,tensorbord]": "unknown logger 'tensorbord'.*did you mean 'tensorboard'",
    "train model=gan trainer.patience=3": "trainer.patience: a gan has no validation loss",
    "train trainer.log_points=0": "trainer.log_points=0: at least 1",
    "train dataset=csv modality=tabular dataset.path=.": "dataset.path=.: dataset=csv needs a file",
    "train model=autoregressive sampler=top_k sampler.k=0": "sampler.k=0: at least 1",
    "train model=autoregressive sampler=top_p sampler.p=0": "sampler.p=0.*: above 0",
    "train budget.channels=0": "budget.channels=0: at least 1",
    "train split.validation=0.9 split.test=0.9": "leave nothing to train on: 1.8",
    "train seed=-1": "seed=-1: at least 0",
    "train trainer.where=gpu": "unknown trainer.where 'gpu': choose from auto, device, workers",
    "train model=vae model.latent=0": "model.latent=0: at least 1",
    "train modality.codec.size=-3": "modality.codec.size=-3: at least 1",
    "train dataset=ring modality=tabular +dataset.n=abc": "dataset.n=abc: should be a whole number",
    "train model=text_gan modality=text adversary=fgm": "adversary: a text_gan's critic sees no",
    "demo fooo=1": "unknown setting 'fooo'",
    "doctor foo": "doctor takes no words, not 'foo'",
    "sample": "say which run: run=DIR",
    "sample run=": "say which run: run=DIR",
    "sample run=VAE nn=3": "unknown setting 'nn'.*did you mean 'n'",
    "sample run=VAE sampler.component=3": "unknown setting 'component' in 'sampler'.*'components'",
    "evaluate run=VAE metrcs=[fd]": "unknown setting 'metrcs'.*did you mean 'metrics'",
    "evaluate run=VAE extractors=[]": "extractors: at least one of randconv, pca",
    "evaluate run=VAE n=2": "2 test examples .*: at least 4",
    "sample run=/no/such": "/no/such is not a run folder",
    "sample run=VAE sampler=ddim": "sampler 'ddim' does not sample a vae: choose from aggregate",
    "sample run=VAE y=77": "y=77: labels run from 0 to 9",
    "sample run=VAE n=0": "n=0, batch_size=256: at least 1",
    "evaluate run=VAE metrics=[fid]": "unknown metric 'fid'.*did you mean 'fd'",
    "evaluate run=VAE extractors=[pcb]": "unknown extractor 'pcb'.*did you mean 'pca'",
    "compare /no/such": "/no/such is not a run folder",
    "compare VAE": "has no results yet: run `aigc evaluate",
    "export VAE": "export takes two words",
    "export VAE out": "export: needs net/causal_lm=hf or gpt2, or net/denoiser=diffusers_unet",
    "list foo": "unknown thing to list 'foo'",
}


@pytest.mark.parametrize("words", BAD)
def test_a_mistake_gets_one_line_and_code_two(aigc, vae: str, words: str, folders: Path):
    import re

    before = sorted((folders / "runs").rglob("config.yaml"))
    code, out, err = aigc(*words.replace("VAE", vae).split())
    assert code == 2
    assert re.search(BAD[words], err), err
    assert err.startswith("aigc: ") and err.count("\n") == 1, err
    assert not out
    assert sorted((folders / "runs").rglob("config.yaml")) == before  # nothing half-written


@pytest.mark.fault(20)
def test_broken_data_leave_no_run(aigc, tmp_path: Path, folders: Path):
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    words = ["modality=tabular", "dataset=csv", f"dataset.path={tmp_path / 'ragged.csv'}"]
    code, _, err = aigc("train", *words, "study=broken", *SMOKE)
    assert code == 2 and "ragged.csv:3: 1 fields, but the header has 2" in err
    assert not (folders / "runs" / "broken").exists()


@pytest.mark.fault(20)
def test_data_that_have_changed_are_not_taken_for_the_old(aigc, tmp_path: Path):
    file = tmp_path / "own.csv"
    file.write_text("a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(60)))
    words = ["model=vae", "modality=tabular", "dataset=csv", f"dataset.path={file}", *SMOKE]
    code, out, err = aigc("train", *words, "study=own", "budget.examples=32")
    assert code == 0, err
    run = out.strip().splitlines()[-1]
    file.write_text("a,b\n" + "".join(f"{i},{i % 5}\n" for i in range(60)))
    for task in (["train", *words, "study=own", "budget.examples=32"], ["evaluate", f"run={run}"]):
        code, _, err = aigc(*task)
        assert code == 2 and "have changed since it was trained" in err


def test_a_run_that_did_not_finish_is_not_sampled(aigc, vae: str, tmp_path: Path):
    import shutil

    copy = tmp_path / "half"
    shutil.copytree(vae, copy)
    (copy / "status.json").write_text('{"state": "running"}')
    code, _, err = aigc("sample", f"run={copy}")
    assert code == 2 and "the run is running, not done" in err


def test_a_wheel_brings_its_configuration(tmp_path: Path):
    """Built, installed beside the environment, run from another folder."""
    root = Path(__file__).parents[1]
    wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*wheel, str(root)], check=True, capture_output=True)
    (file,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), str(file)]
    subprocess.run(pip, check=True, capture_output=True)
    assert (site / "aigc" / "conf" / "train.yaml").is_file()
    assert (site / "aigc" / "py.typed").is_file()
    env = {**os.environ, "PYTHONPATH": str(site)}
    env.pop("AIGC_CONF", None)

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "aigc", *words]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=tmp_path, env=env
        ).stdout

    assert "aigc train" in run("--help")
    assert "_target_: aigc.families.vae.module.VAE" in run("train", "model=vae", "--cfg", "job")
    where = "import aigc.lab.conf as c; print(c.conf_dir())"
    found = subprocess.run(
        [sys.executable, "-c", where],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
    ).stdout
    assert found.strip() == str(site / "aigc" / "conf")
