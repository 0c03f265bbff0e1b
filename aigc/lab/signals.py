"""Signals that end a run: noted when they come, obeyed when a batch begins."""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException

from aigc.core.errors import unknown

REQUEUE = {"usr1": signal.SIGUSR1, "term": signal.SIGTERM}


class Requeued(SIGTERMException):
    """SLURM is about to take the node away: go on in the same job, started again."""


class Signals:
    """`told` is what the run has been told to end by, if it has.

    SIGTERM and Ctrl-C wait for the batch to end; a second Ctrl-C does not. `requeue` names the
    signal after which a SLURM job is queued again (`sbatch --signal=USR1@90`).
    """

    def __init__(self, requeue: str | None = None):
        if requeue not in (None, *REQUEUE):
            raise unknown("trainer.requeue", requeue, REQUEUE)
        self.told: type[BaseException] | None = None
        self._ends = {signal.SIGTERM: SIGTERMException, signal.SIGINT: KeyboardInterrupt}
        if requeue and "SLURM_JOB_ID" in os.environ:
            self._ends[REQUEUE[requeue]] = Requeued
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over from here on; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in self._ends:
                if number != signal.SIGUSR1 or signal.getsignal(number) == signal.SIG_DFL:
                    self._before[number] = signal.signal(number, self._note)

    def forget(self) -> None:
        """Give the signals back."""
        for number in list(self._before):
            signal.signal(number, self._before.pop(number))

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self.told is KeyboardInterrupt:
            self.told = None
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            print("\nending with this batch; again to end at once", file=sys.stderr, flush=True)
        self.told = self._ends[number]


def slurm() -> list[SLURMEnvironment]:
    """Lightning's view of a SLURM job, where this is one, without its own way to queue it again: it
    saves in the middle of a step."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def requeue() -> None:
    """Have SLURM start this job again; what it says against that is said."""
    words = ["scontrol", "requeue", os.environ["SLURM_JOB_ID"]]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        reason = answer.stderr.strip() if answer.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    print(f"not requeued: {reason}" if reason else "requeued", file=sys.stderr, flush=True)
