"""`hydra/launcher=process|joblib|ray|submitit`: where the cells of `aigc train -m` run.

Hydra finds its plugins by importing this file at each start, so what is heavy is imported when a
sweep begins.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, open_dict


class CellLauncher(Launcher):
    """Cells by `aigc.lab.sweeps`; a launcher says where they run and what it cannot do."""

    def __init__(self, jobs: int | None, retries: int, evaluate: Any, **settings: Any):
        self.jobs, self.retries, self.evaluate = jobs, retries, evaluate
        self.settings = settings

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence:
        """Bring all cells to their end; their returns raise where they failed."""
        from aigc.lab.sweeps.cells import labels_of

        overrides = [list(words) for words in job_overrides]
        cells = [self.cell(w, label) for w, label in zip(overrides, labels_of(overrides))]
        cells = list({cell.name: cell for cell in cells}.values())  # one run each
        self.run(cells, cells, len(cells))
        for cell in cells:
            if cell.state == "done":
                print(cell.run)
        return [Ended(cell, cells) for cell in cells]

    def run(
        self, cells: Iterable, known: list, total: int, listed: bool = True, **hooks: Any
    ) -> None:
        """Run cells that may come one by one; those that are `known` say what cells need."""
        from aigc.lab.sweeps import record
        from aigc.lab.sweeps.engine import Engine
        from aigc.lab.sweeps.screen import Screen
        from aigc.lab.sweeps.slots import not_a_rank

        not_a_rank()
        judge = None if self.evaluate in (None, False) else self.evaluate
        judge = [] if judge is True else [judge] if isinstance(judge, str) else judge
        place, slots = self.place(known)
        if listed:
            record.listed(known)
        screen = Screen(f"sweep {self.config.study}", total)
        engine = Engine(place, slots, screen, self.retries, judge and list(judge))
        for name, hook in hooks.items():
            setattr(engine, name, hook)
        engine.run(cells)

    def cell(self, words: list[str], labels: dict[str, str]) -> Any:
        """The cell of a command, with its configuration."""
        from aigc.lab.conf import resolved
        from aigc.lab.sweeps.cells import Cell

        config = self.context.config_loader.load_sweep_config(self.config, words)
        with open_dict(config):
            del config["hydra"]
        plain = resolved(config)
        return Cell(words, plain, labels, self.flags())

    def flags(self) -> list[str]:
        """Folders of configurations that the command line named."""
        sources = self.config.hydra.runtime.config_sources
        return [word for s in sources if s.provider == "command-line" for word in ("-cd", s.path)]

    @abstractmethod
    def place(self, cells: list) -> tuple[Any, Any]:
        """Where cells run, and how many at a time; BadInput for what cannot work there."""


class ProcessLauncher(CellLauncher):
    """Processes of this machine."""

    def place(self, cells: list) -> tuple[Any, Any]:
        """Processes that share its cores and GPUs."""
        from aigc.lab.sweeps.places import Processes
        from aigc.lab.sweeps.slots import one_machine, slots

        one_machine(cells, "process")
        s = self.settings
        found = slots(cells, self.jobs, s["threads"], s["per_device"])
        return Processes(s["warm"], found.threads), found


class JoblibLauncher(CellLauncher):
    """Workers of joblib on this machine, reused from cell to cell."""

    def place(self, cells: list) -> tuple[Any, Any]:
        """As many workers as cells at a time."""
        from aigc.lab.sweeps.places import Joblib
        from aigc.lab.sweeps.slots import one_process_each, slots

        one_process_each(cells, "joblib")
        found = slots(cells, self.jobs, self.settings["threads"], self.settings["per_device"])
        return Joblib(found.jobs, found.threads), found


class RayLauncher(CellLauncher):
    """Tasks of a Ray cluster, which assigns the devices."""

    def place(self, cells: list) -> tuple[Any, Any]:
        """A local cluster, or the one at `address`."""
        from aigc.lab.sweeps.clusters import Ray
        from aigc.lab.sweeps.slots import Slots, counted, one_machine

        one_machine(cells, "ray")
        counted(cells, "ray")
        ray = Ray(**self.settings)
        ray.check(cells)
        return ray, Slots(self.jobs or ray.fit(cells), self.settings["cpus"])


class SubmititLauncher(CellLauncher):
    """Jobs of SLURM with one task a device, or of this machine in the same way for tests."""

    def place(self, cells: list) -> tuple[Any, Any]:
        """One job a cell."""
        from aigc.lab.sweeps.clusters import Submitit
        from aigc.lab.sweeps.slots import Slots, counted

        counted(cells, "submitit")
        place = Submitit(str(cells[0].log.parents[1] / "submitit"), **self.settings)
        place.check(cells)
        return place, Slots(self.jobs, place.threads)


class Ended(JobReturn):
    """What Hydra learns about a cell; asked for the value of one that failed, it says how many
    did."""

    def __init__(self, cell: Any, cells: list):
        done = cell.state in ("done", "pruned")
        super().__init__(overrides=cell.words, working_dir=str(cell.run))
        self.status = JobStatus.COMPLETED if done else JobStatus.FAILED
        self.cells = cells

    @property
    def return_value(self) -> None:
        """Nothing, or SweepFailed."""
        from aigc.core.errors import SweepFailed
        from aigc.lab.sweeps.engine import unfinished

        if left := unfinished(self.cells):
            raise SweepFailed(
                f"{len(left)} of {len(self.cells)} cells are not done; "
                "the same command tries them again"
            )
