"""Cells on clusters: tasks of Ray, jobs of SLURM by submitit. Both also run on this machine."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import nullcontext, suppress
from typing import Any

from aigc.core.errors import BadInput
from aigc.lab.sweeps.cells import Cell
from aigc.lab.sweeps.places import Job, Ranks
from aigc.lab.sweeps.slots import cores
from aigc.lab.sweeps.work import apart, at_work, command, stop_work, work

PASSED = ("AIGC_RUNS", "AIGC_CACHE", "AIGC_DATA", "AIGC_CONF", "PYTHONPATH")
SAVED = 80.0  # seconds for a job that is told to stop, of the 90 that SLURM gives


class Ray:
    """Tasks of a Ray cluster: it assigns cores and GPUs, and reuses its workers."""

    def __init__(self, address: str | None, cpus: int, gpus: float | None):
        try:
            import ray
        except ImportError as error:
            raise BadInput("hydra/launcher=ray needs Ray: pip install 'aigc[ray]'") from error
        self.ray, self.cpus = ray, cpus
        local = {} if address else {"num_cpus": cores(), "include_dashboard": False}
        threads = os.environ.get("OMP_NUM_THREADS", str(cpus))
        env = {k: os.environ[k] for k in PASSED if k in os.environ} | {"OMP_NUM_THREADS": threads}
        self.began = not ray.is_initialized()
        if self.began:
            ray.init(
                address=address,
                runtime_env={"env_vars": env},
                log_to_driver=False,
                logging_level="ERROR",
                **local,
            )
        self.total = ray.cluster_resources()
        self.gpus = gpus if gpus is not None else float(self.total.get("GPU", 0) > 0)

    def check(self, cells: list[Cell]) -> None:
        """Raise BadInput for a cell that the whole cluster has no room for."""
        for cell in cells:
            for name, each in (("CPU", self.cpus), ("GPU", self.gpus)):
                need, have = each * cell.processes, self.total.get(name, 0)
                if need > have:
                    raise BadInput(
                        f"{cell.title} needs {need:g} {name} and the Ray cluster has {have:g}: "
                        f"lower hydra.launcher.{name.lower()}s or strategy.devices"
                    )

    def fit(self, cells: list[Cell]) -> int:
        """How many of the largest cells the cluster runs at once."""
        most = max(cell.processes for cell in cells)
        rooms = [self.total.get("CPU", 0) // (self.cpus * most)]
        rooms += [self.total.get("GPU", 0) // (self.gpus * most)] if self.gpus else []
        return max(1, int(min(rooms)))

    def start(self, words: list[str], log: str, env: dict[str, str], ranks: Ranks) -> Job:
        """One task; ranks are processes of it, on its machine."""
        count = ranks.processes
        options = {"num_cpus": self.cpus * count, "num_gpus": self.gpus * count}
        task = self.ray.remote(max_retries=0, **options)(_there)
        return Task(self.ray, log, task.remote(os.getcwd(), words, log, env, count))

    def close(self) -> None:
        """A cluster that was started for the sweep ends with it."""
        if self.began:
            self.ray.shutdown()


def _there(cwd: str, words: list[str], log: str, env: dict[str, str], processes: int) -> int:
    with suppress(OSError):
        os.chdir(cwd)
    return (work if processes == 1 else apart)(words, log, env)


class Task:
    """A task of Ray."""

    def __init__(self, ray: Any, log: str, ref: Any):
        self.ray, self.log, self.ref = ray, log, ref

    def poll(self) -> int | None:
        """A worker that died is code 137, a task that was taken back 143."""
        if not self.ray.wait([self.ref], timeout=0)[0]:
            return None
        try:
            return self.ray.get(self.ref)
        except self.ray.exceptions.TaskCancelledError:
            return 128 + signal.SIGTERM
        except self.ray.exceptions.RayError:
            return 128 + signal.SIGKILL

    def stop(self) -> None:
        """SIGTERM to a worker of this machine, an interrupt to one of another."""
        if not stop_work(self.log):
            self.ray.cancel(self.ref)

    def kill(self) -> None:
        """The end of the worker."""
        self.ray.cancel(self.ref, force=True)


class Submitit:
    """One SLURM job a cell, one task a device; `cluster=local` does the same on this machine."""

    def __init__(
        self,
        folder: str,
        cluster: str,
        cpus: int,
        gpus: int,
        minutes: int,
        requeues: int,
        more: Any,
    ):
        try:
            import submitit
        except ImportError as error:
            raise BadInput("hydra/launcher=submitit: pip install 'aigc[slurm]'") from error
        if cluster not in ("slurm", "local"):
            raise BadInput(f"hydra.launcher.cluster={cluster}: slurm or local")
        if cluster == "slurm" and not shutil.which("sbatch"):
            raise BadInput(
                "hydra/launcher=submitit: there is no sbatch here; start the sweep on a login "
                "node, or use hydra.launcher.cluster=local"
            )
        self.cluster, self.threads, self.gpus = cluster, cpus, gpus
        limit = {f"{cluster}_max_num_timeout": requeues}
        self.executor = submitit.AutoExecutor(folder=f"{folder}/%j", cluster=cluster, **limit)
        settings = dict(cpus_per_task=cpus, timeout_min=minutes, **dict(more))
        self.executor.update_parameters(**settings)

    def check(self, cells: list[Cell]) -> None:
        """Raise BadInput for what a job of this machine cannot be."""
        if self.cluster == "local" and any(c.config["strategy"]["nodes"] > 1 for c in cells):
            raise BadInput("hydra.launcher.cluster=local is one machine: use strategy.nodes=1")

    def start(self, words: list[str], log: str, env: dict[str, str], ranks: Ranks) -> Job:
        """Submit one job with a task for each rank."""
        shape = {"tasks_per_node": ranks.processes}
        if self.cluster == "slurm":
            shape |= {"nodes": ranks.nodes, "gpus_per_node": self.gpus * ranks.processes}
        self.executor.update_parameters(name="aigc", **shape)
        threads = os.environ.get("OMP_NUM_THREADS", str(self.threads))
        return Submitted(
            log,
            self.executor.submit(Command(), words, log, env | {"OMP_NUM_THREADS": threads}),
        )

    def close(self) -> None:
        """Nothing is held."""


class Command:
    """What a task of a job does; told that its time is over, it saves and is queued again."""

    process: subprocess.Popen | None = None

    def __call__(self, words: list[str], log: str, env: dict[str, str]) -> int:
        """`aigc WORDS` as one of the ranks that the job has tasks for; the exit code."""
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        job = JobEnvironment()
        if job.num_tasks > 1:
            TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                command(words), env=os.environ | env, stdout=file, stderr=file
            )
        with at_work(log, self.process.pid) if job.global_rank == 0 else nullcontext():
            while self.process.poll() is None:
                time.sleep(0.1)
        return self.process.returncode

    def checkpoint(self, *args: Any) -> Any:
        """Called by submitit before the job is queued again."""
        from submitit.helpers import DelayedSubmission

        if self.process:
            self.process.terminate()
            until = time.monotonic() + SAVED
            over = os.WEXITED | os.WNOHANG | os.WNOWAIT  # Popen.wait may be under way above
            while time.monotonic() < until and not os.waitid(os.P_PID, self.process.pid, over):
                time.sleep(0.1)
        return DelayedSubmission(Command(), *args)


class Submitted:
    """A job of submitit."""

    def __init__(self, log: str, job: Any):
        self.log, self.job = log, job

    def poll(self) -> int | None:
        """The first exit code that is not 0; 137 for a job that left none."""
        if not self.job.done():
            return None
        try:
            return next((code for code in self.job.results() if code), 0)
        except Exception:
            return 128 + signal.SIGKILL

    def stop(self) -> None:
        """SIGTERM, by the scheduler where the job is not of this machine."""
        if not stop_work(self.log):
            self.job.cancel()

    def kill(self) -> None:
        """As `stop`: the scheduler kills what does not end."""
        self.job.cancel()
