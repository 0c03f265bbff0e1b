"""A command in this process: what every worker of a sweep does, wherever it is."""

import atexit
import ctypes
import os
import platform
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, parent_process
from pathlib import Path
from threading import Thread


def work(words: list[str], log: str, env: dict[str, str]) -> int:
    """`python -m aigc WORDS` in this process, its words to `log`; the exit code."""
    os.environ.update(env)
    sys.argv = ["aigc", *words]
    with said_to(log), at_work(log):
        try:
            _forget_hydra()
            runpy.run_module("aigc", run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException as error:
            traceback.print_exc()
            return 130 if isinstance(error, KeyboardInterrupt) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def apart(words: list[str], log: str, env: dict[str, str]) -> int:
    """`work` in a fresh process, for a command that starts ranks by its own command line."""
    with open(log, "ab") as file:
        return subprocess.call(command(words), env=os.environ | env, stdout=file, stderr=file)


def forked(words: list[str], log: str, env: dict[str, str]) -> None:
    """`work` in a process that was forked for this command alone, and ends with it."""
    os.setsid()  # Ctrl-C is the sweep's
    Thread(target=_end_with_sweep, daemon=True).start()
    code = work(words, log, env)
    with said_to(log):
        atexit._run_exitfuncs()  # a forked process would leave them out
    sys.exit(code)


def _end_with_sweep() -> None:
    """Save the state when the sweep is killed; the process that forked this one outlives it."""
    connection.wait([parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def command(words: list[str]) -> list[str]:
    """The command line of `aigc WORDS`."""
    return [sys.executable, "-m", "aigc", *words]


def die_with_parent() -> None:
    """SIGTERM to this process when its parent dies, so that its state is saved (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextmanager
def said_to(log: str) -> Iterator[None]:
    """Add what is written to stdout and stderr, also by native code, to a file."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(log, "ab", 0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for old, number in zip(kept, (1, 2)):
            os.dup2(old, number)
            os.close(old)


@contextmanager
def at_work(log: str, process: int | None = None) -> Iterator[None]:
    """Leave the number of a process (this one) beside the log, for who wants to stop it."""
    file = Path(f"{log}.pid")
    file.write_text(f"{process or os.getpid()} {platform.node()}")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def stop_work(log: str) -> bool:
    """SIGTERM to the worker of this machine that writes `log`; False where none does."""
    try:
        number, machine = Path(f"{log}.pid").read_text().split()
        if machine == platform.node():
            os.kill(int(number), signal.SIGTERM)
            return True
    except (OSError, ValueError):
        pass
    return False


def _forget_hydra() -> None:
    """Let a worker compose one configuration after another."""
    if "hydra" in sys.modules:
        from hydra.core.global_hydra import GlobalHydra

        GlobalHydra.instance().clear()
