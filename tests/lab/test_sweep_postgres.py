"""A search in PostgreSQL, where Debian's packages (`apt install postgresql`) and a driver
(`pip install 'psycopg[binary]'`) are installed; skipped elsewhere."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aigc.lab.sweeps.space import Interval

optuna = pytest.importorskip("optuna")
pytest.importorskip("psycopg")
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PATH = os.pathsep.join([os.environ["PATH"], *map(str, DEBIAN)])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of its own, which no superuser may run."""
    tools = [shutil.which(name, path=PATH) for name in ("initdb", "pg_ctl")]
    if None in tools:
        pytest.skip("no PostgreSQL server installed")
    folder = tmp_path_factory.mktemp("postgres")
    other = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "nobody")
        for parent in [folder, *folder.parents][:4]:
            parent.chmod(parent.stat().st_mode | 0o055)
    data, port = str(folder / "data"), free_port()

    def call(*words: str) -> None:
        subprocess.run([*other, *words], check=True, stdout=subprocess.DEVNULL)

    call(tools[0], "-D", data, "-A", "trust", "-U", "aigc")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    call(tools[1], "-D", data, "-w", "-l", f"{data}/log", "-o", options, "start")
    yield f"postgresql+psycopg://aigc@127.0.0.1:{port}/postgres"
    call(tools[1], "-D", data, "-m", "immediate", "stop")


@pytest.mark.slow
def test_two_sweeps_share_a_study(server: str):
    from aigc.lab.sweeps.study import distribution, opened

    space = {"x": distribution(Interval(0.0, 1.0))}
    one, two = (opened(server, "s", ["minimize"], "tpe", i, "median", 1) for i in range(2))
    for i in range(4):
        trial = (one, two)[i % 2].ask(space)
        trial.report(trial.params["x"], 1)
        (one, two)[i % 2].tell(trial, trial.params["x"])
    again = opened(server, "s", ["minimize"], "tpe", 0, "median", 1)
    assert [t.number for t in again.trials] == [0, 1, 2, 3]
    assert again.best_value == min(t.params["x"] for t in one.trials)
