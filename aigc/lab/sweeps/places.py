"""Where the cells of a sweep run. A place starts commands and gives jobs; it knows nothing else.

Processes of this machine are here, and the workers of joblib; `clusters.py` has SLURM and Ray.
"""

import multiprocessing
import os
import signal
import subprocess
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import NamedTuple, Protocol

from aigc.lab.sweeps.work import command, die_with_parent, forked, stop_work, work

# What a warm process has imported before it forks: everything that training needs.
IMPORTED = ["aigc.cli", "aigc.lab.tasks", "aigc.lab.schema", "aigc.lab.sweeps.warm"]
RANKS = ("LOCAL_RANK", "RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Ranks(NamedTuple):
    """In how many processes of how many machines a command trains."""

    processes: int | str = 1
    nodes: int = 1


ALONE = Ranks()


class Job(Protocol):
    """A command that has been started."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def stop(self) -> None:
        """Ask it to save its state and end."""

    def kill(self) -> None:
        """End it at once."""


class Place(Protocol):
    """Somewhere to run commands."""

    def start(self, words: list[str], log: str, env: dict[str, str], ranks: Ranks) -> Job:
        """Start `aigc WORDS`, which trains in so many processes."""

    def close(self) -> None:
        """No more will be started."""


class Processes:
    """Processes of this machine, one a cell.

    A cell of one process is forked from one that has imported everything (`warm`): no seconds of
    imports, and nothing of other cells either. A cell with ranks is a fresh command, which its
    ranks can repeat.
    """

    def __init__(self, warm: bool, threads: int):
        self.threads = threads
        for name in RANKS:  # a cell is nobody's rank
            os.environ.pop(name, None)
        self.context = multiprocessing.get_context("forkserver") if warm else None
        if self.context:
            self.context.set_forkserver_preload(IMPORTED)
            os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported

    def start(self, words: list[str], log: str, env: dict[str, str], ranks: Ranks) -> Job:
        """Forked where it can be."""
        if self.context and ranks == ALONE:
            process = self.context.Process(target=forked, args=(words, log, os.environ | env))
            process.start()
            return Forked(process)
        env = {"OMP_NUM_THREADS": str(self.threads)} | os.environ | env
        with open(log, "ab") as file:
            process = subprocess.Popen(
                command(words),
                env=env,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        return Fresh(process)

    def close(self) -> None:
        """The warm process ends with this one."""


class Fresh:
    """A process and those that it starts."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def poll(self) -> int | None:
        """As Popen."""
        return self.process.poll()

    def stop(self) -> None:
        """SIGTERM to rank zero, which tells the others."""
        self.process.terminate()

    def kill(self) -> None:
        """The whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Forked:
    """A process of multiprocessing."""

    def __init__(self, process: multiprocessing.Process):
        self.process = process

    def poll(self) -> int | None:
        """None while it runs."""
        return self.process.exitcode

    def stop(self) -> None:
        """SIGTERM."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL, also to what it has started: the group is its own once it works."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()


class Joblib:
    """The workers of joblib (loky), which go from cell to cell without importing again."""

    def __init__(self, jobs: int, threads: int):
        from joblib.externals.loky import get_reusable_executor

        env = {"OMP_NUM_THREADS": str(threads)} | os.environ
        self.executor = get_reusable_executor(max_workers=jobs, timeout=None, env=env)

    def start(self, words: list[str], log: str, env: dict[str, str], ranks: Ranks) -> Job:
        """One command in a free worker."""
        return Promise(self, log, self.executor.submit(work, words, log, env))

    def close(self) -> None:
        """Let the workers go."""
        self.executor.shutdown(wait=False, kill_workers=True)


class Promise:
    """A command in a worker of a pool."""

    def __init__(self, pool: Joblib, log: str, future: Future):
        self.pool, self.log, self.future = pool, log, future

    def poll(self) -> int | None:
        """A worker that died is code 137."""
        if not self.future.done():
            return None
        try:
            return self.future.result()
        except (Exception, CancelledError):
            return 137

    def stop(self) -> None:
        """SIGTERM to the worker that has it, or take it from the queue."""
        if not self.future.cancel():
            stop_work(self.log)

    def kill(self) -> None:
        """The end of all workers: joblib cannot end one."""
        self.pool.close()
