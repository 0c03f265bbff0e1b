"""Listing, cleaning and verifying runs, from their folders alone."""

import json
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

import aigc
from aigc.core.errors import BadInput
from aigc.lab import check, keeping, verify
from aigc.lab.check import check_origin
from aigc.runs import NotARun, RunDir, signature

CONFIG = {
    "model": {"name": "vae"}, "dataset": {"name": "digits"}, "seed": 0, "study": "s",
    "trainer": {}, "budget": {},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that is done, as training leaves it."""
    run = RunDir(tmp_path / "runs" / "s" / signature(CONFIG))
    run.start(CONFIG, {})
    weights(run / "checkpoints" / "model.safetensors")
    digest = verify.digest(run / "checkpoints" / "model.safetensors")
    run.mark("done", weights=digest, examples=320, train_seconds=1.5)
    run.add_rows([{"metric": "fd", "value": 1.0, "protocol": "p", "seed": 0}])
    return run


def weights(file: Path) -> None:
    index = {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    head = json.dumps(index).encode()
    file.write_bytes(struct.pack("<Q", len(head)) + head + bytes(16))


def state(file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", bytes(1000))
    return file


def test_a_run_says_its_state_cost_and_size(run: RunDir, capsys):
    keeping.main([str(run.path.parents[1])])
    out = capsys.readouterr().out
    assert out.startswith("done") and "320" in out and "1 rows" in out and str(run) in out
    run.mark("running")
    assert run.state == "stale"
    with run.held():
        assert RunDir(run.path).state == "running"


def test_cleaning_keeps_what_results_and_resuming_need(run: RunDir):
    root = run.path.parents[1]
    spare = state(run / "checkpoints" / "last-000000000032.ckpt")
    lost, going, live = (RunDir(run.path.parent / name) for name in ("lost", "going", "live"))
    for other in (lost, going, live):
        other.start({}, {})
    lost.mark("failed", reason="x")
    going.mark("failed", reason="x")
    kept = state(going / "checkpoints" / "last-000000000032.ckpt")
    with live.held():
        keeping.main(["clean", str(root)])
    assert not spare.exists() and not lost.path.exists()
    assert kept.exists() and live.path.exists()
    assert (run / "checkpoints" / "model.safetensors").exists() and run.rows()


def test_a_sound_run_is_verified(run: RunDir, capsys):
    verify.main([str(run)])
    assert "sound" in capsys.readouterr().out
    with pytest.raises(BadInput, match="folders of runs"):
        verify.main([str(run.path / "nowhere")])


@pytest.mark.parametrize(
    "hurt, said",
    [
        (lambda r: (r / "config.yaml").write_text("a: ["), "config.yaml"),
        (lambda r: (r / "config.yaml").write_text("a: 1"), "config.yaml"),
        (lambda r: (r / "checkpoints/model.safetensors").unlink(), "is missing"),
        (lambda r: (r / "checkpoints/model.safetensors").write_bytes(b"x"), "not the file"),
        (lambda r: (r / "checkpoints/last-032.ckpt").write_bytes(b"x"), "last-032.ckpt is damaged"),
        (
            lambda r: (r / "results.jsonl").write_text('{"metric": "f'),
            "holds a line that is no row",
        ),
        (
            lambda r: (r / "results.jsonl").write_text('{"metric": "f"}\n'),
            "row 1 lacks its protocol",
        ),
    ],
)
def test_what_is_damaged_is_named(run: RunDir, capsys, hurt, said: str):
    hurt(run)
    with pytest.raises(SystemExit) as end:
        verify.main([str(run.path.parent)])
    assert end.value.code == 1 and said in capsys.readouterr().out


def test_a_run_under_another_name_is_found_out(run: RunDir, capsys):
    shutil.copytree(run.path, run.path.parent / "renamed")
    with pytest.raises(SystemExit):
        verify.main([str(run.path.parent / "renamed")])
    assert "gives the name vae-digits-s0-" in capsys.readouterr().out


@pytest.mark.fault(23, "environment")
def test_a_configuration_that_asks_for_secrets_is_refused(run: RunDir):
    (run / "config.yaml").write_text("model: {name: '${oc.env:HOME}'}")
    with pytest.raises(NotARun, match="interpolation, which no run writes"):
        _ = run.config


EVIL = [
    {"_target_": "os.system", "command": "touch marker"},
    {"_target_": "subprocess.Popen", "args": ["touch", "marker"]},
    {"_target_": "builtins.open", "file": "marker", "mode": "w"},
    {"_target_": "torch.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "pathlib.Path.touch"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    {"_target_": "aigc.lab.training.os.mkdir", "path": "marker"},
    {"_target_": "aigc.lab.run.Path", "args": ["marker"]},
    {"_target_": "lightning.pytorch.callbacks.model_checkpoint.os.mkdir", "path": "marker"},
    {"_target_": "torch.hub.load", "repo_or_dir": "x/y"},
    {"_target_": "torch.package.PackageImporter", "file_or_buffer": "evil.zip"},
    {"_target_": "lightning.pytorch.cli.LightningCLI"},
    {"_target_": "aigcevil.Net"},
    {"_target_": "no.such.thing"},
    {"_target_": 7},
]


@pytest.mark.fault(23, "class of a run")
@pytest.mark.parametrize("where", ["model", "net", "codec"])
@pytest.mark.parametrize("node", EVIL)
def test_a_run_names_classes_of_trusted_packages_alone(
    where: str, node: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(check, "TRUSTED", {"aigc", "torch.optim", "torch.nn"})
    config = {"net": {"decoder": node}} if where == "net" else {where: {"x": [node]}}
    with pytest.raises(BadInput, match="no class"):
        check_origin(config, tmp_path)


@pytest.mark.fault(23, "class of a run")
def test_a_run_imports_no_module_that_the_user_has_not_named(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('it was imported')")
    (run / "config.yaml").write_text("model: {name: vae}\nplugins: [evil_module]\n")
    with pytest.raises(BadInput, match=r"if you trust it, say so: plugins=\[evil_module\]"):
        aigc.load(run.path)
    check_origin({"model": {"_target_": "aigc.families.vae.module.VAE"}}, tmp_path)
