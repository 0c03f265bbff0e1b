"""How many cells at a time, on which devices; and what cannot work, said before anything starts."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from aigc.core.errors import BadInput
from aigc.lab.sweeps.cells import Cell


@dataclass
class Slots:
    """`jobs` cells at a time, each on its own of the `free` GPUs; none free on a CPU or where
    something else assigns them."""

    jobs: int
    threads: int
    free: list[str] | None = None

    def take(self, cell: Cell) -> list[str] | None:
        """The devices of a cell; None when it has to wait."""
        if not self.free:
            return [] if self.free is None else None
        wanted = self.free if cell.processes == "auto" else _most_free(self.free, cell.processes)
        if len(wanted) < (1 if cell.processes == "auto" else cell.processes):
            return None
        for device in (wanted := list(wanted)):
            self.free.remove(device)
        return wanted

    def give(self, devices: list[str]) -> None:
        """Devices of a cell that has ended."""
        if self.free is not None:
            self.free += devices


def _most_free(free: list[str], count: int) -> list[str]:
    """Different devices, those with the fewest cells first."""
    return sorted(dict.fromkeys(free), key=lambda d: (-free.count(d), free.index(d)))[:count]


def slots(cells: list[Cell], jobs: int | None, threads: int | None, per_device: int) -> Slots:
    """Slots of this machine for these cells; BadInput names what has to be changed."""
    if (jobs is not None and jobs < 1) or per_device < 1:
        raise BadInput(f"hydra.launcher.jobs={jobs}, per_device={per_device}: at least 1")
    on_gpu = [c for c in cells if _wants_gpu(c)]
    devices = gpus() if on_gpu else []
    most = max((c.processes for c in cells if isinstance(c.processes, int)), default=1)
    if any(c.processes == "auto" for c in cells):
        most = max(most, len(devices), 1)
    places = len(devices) * per_device if devices else cores()
    fit = max(1, places // most)
    if devices and most > len(devices):
        raise BadInput(f"strategy.devices={most}, and there are {len(devices)} GPUs here")
    if devices and (jobs or 1) > fit:
        share = -(-jobs * most // len(devices))
        raise BadInput(
            f"hydra.launcher.jobs={jobs} of {most} devices each on {len(devices)} GPUs: use "
            f"jobs={fit}, or let cells share one by hydra.launcher.per_device={share}"
        )
    jobs = jobs or fit
    threads = threads or max(1, cores() // (jobs * most))
    return Slots(jobs, threads, devices * per_device if devices else None)


def one_process_each(cells: list[Cell], launcher: str) -> None:
    """Raise BadInput for a cell with ranks, where a launcher's workers cannot start them."""
    for cell in cells:
        if cell.processes != 1 or cell.config["strategy"]["nodes"] > 1:
            raise BadInput(
                f"hydra/launcher={launcher} trains a cell in one process, and {_ranks(cell)}: use "
                "hydra/launcher=process (one machine) or submitit (SLURM), or strategy=single"
            )


def one_machine(cells: list[Cell], launcher: str) -> None:
    """Raise BadInput for a cell that spans machines, where a launcher starts it on one."""
    for cell in cells:
        if cell.config["strategy"]["nodes"] > 1:
            raise BadInput(
                f"hydra/launcher={launcher} trains a cell on one machine, and {_ranks(cell)}: use "
                "hydra/launcher=submitit"
            )


def counted(cells: list[Cell], launcher: str) -> None:
    """Raise BadInput where a scheduler would have to know how many `auto` devices are."""
    for cell in cells:
        if not isinstance(cell.processes, int):
            raise BadInput(
                f"hydra/launcher={launcher} asks a scheduler for devices, and {_ranks(cell)}: say "
                "strategy.devices=N"
            )


def not_a_rank() -> None:
    """Raise BadInput where each of several processes would start the sweep."""
    for name in ("RANK", "LOCAL_RANK"):
        if name in os.environ:
            raise BadInput(
                f"-m in a process that is a rank ({name}={os.environ[name]}): start a sweep once, "
                "not by torchrun or srun; it starts the ranks of its cells"
            )


def cores() -> int:
    """CPU cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def gpus() -> list[str]:
    """NVIDIA devices that this process may use, without starting CUDA."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [d for d in visible.split(",") if d and d != "-1"]
    if not (tool := shutil.which("nvidia-smi")):
        return []
    query = [tool, "--query-gpu=index", "--format=csv,noheader"]
    told = subprocess.run(query, capture_output=True, text=True, check=False)
    return told.stdout.split() if told.returncode == 0 else []


def _wants_gpu(cell: Cell) -> bool:
    cpu = cell.config["strategy"]["name"].endswith("_cpu")
    return not cpu and cell.config["trainer"]["accelerator"] in ("auto", "gpu", "cuda")


def _ranks(cell: Cell) -> str:
    plan = cell.config["strategy"]
    return f"{cell.title} has strategy.devices={plan['devices']} nodes={plan['nodes']}"
