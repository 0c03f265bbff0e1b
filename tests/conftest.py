"""Every test runs in folders of its own; smoke runs are trained once a session and shared."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recorder import (  # noqa: F401
    fault_seed,
    pytest_addoption,
    pytest_configure,
    pytest_runtest_setup,
    tried,
)

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture(scope="session", autouse=True)
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs and prepared data of this session, away from the user's."""
    root = tmp_path_factory.mktemp("aigc")
    os.environ["AIGC_RUNS"] = str(root / "runs")
    os.environ["AIGC_CACHE"] = str(root / "cache")
    os.environ.setdefault("AIGC_DATA", str(root / "data"))
    return root


@pytest.fixture(autouse=True)
def figures_closed() -> Iterator[None]:
    """A test begins without the figures that others left open."""
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
    yield


@pytest.fixture(scope="session")
def smoke() -> Callable[..., Path]:
    """`smoke("model=vae", ...)`: the folder of that smoke run, trained on first use."""
    from aigc.lab.conf import compose
    from aigc.lab.training import train

    def run(*words: str) -> Path:
        return train(compose("train", ["budget=smoke", "trainer.validations=2", *words])).path

    return run


@pytest.fixture
def aigc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable:
    """`aigc("train", ...)`: the command line in this process; gives exit code, stdout, stderr."""
    from hydra.core.global_hydra import GlobalHydra

    from aigc import cli

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["aigc", *words])
        GlobalHydra.instance().clear()
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            GlobalHydra.instance().clear()
        out = capsys.readouterr()
        return code, out.out, out.err

    return call
