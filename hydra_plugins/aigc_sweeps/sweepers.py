"""`hydra/sweeper=grid|random|optuna`: all cells of a grid, or some that are drawn or searched."""

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, ListConfig


class GridSweeper(BasicSweeper):
    """Hydra's own, without composing every cell once more than the launcher does anyway."""

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Only where the launcher composes one cell after another."""
        if not hasattr(self.launcher, "cell"):
            super().validate_batch_is_legal(batch)


class CellSweeper(Sweeper):
    """A sweeper that hands single cells to a launcher of `aigc`."""

    def __init__(self, trials: int, seed: int, **settings: Any):
        self.trials, self.seed, self.settings = trials, seed, settings

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra."""
        from aigc.core.errors import BadInput

        self.context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        if not hasattr(self.launcher, "cell"):
            raise BadInput(
                "hydra/sweeper=random or optuna needs hydra/launcher=process, joblib, ray or "
                "submitit"
            )
        if self.trials < 1:
            raise BadInput(f"hydra.sweeper.trials={self.trials}: at least 1")

    def split(self, arguments: list[str]) -> tuple[list[str], Any]:
        """Fixed words and the space of the others."""
        from aigc.lab.sweeps.space import split

        parser = OverridesParser.create(config_loader=self.context.config_loader)
        return split(parser.parse_overrides(arguments))


class RandomSweeper(CellSweeper):
    """Independent draws; trial `i` depends on (seed, i) alone."""

    def sweep(self, arguments: list[str]) -> None:
        """All trials are known at once."""
        from aigc.lab.sweeps.space import random_words

        fixed, space = self.split(arguments)
        drawn = [random_words(space, self.seed, i) for i in range(self.trials)]
        words = [[*fixed, *(f"{k}={v}" for k, v in one.items())] for one in drawn]
        for ended in self.launcher.launch(words, 0):
            _ = ended.return_value  # raises where cells failed


class OptunaSweeper(CellSweeper):
    """A study of Optuna, resumed where it was left."""

    def sweep(self, arguments: list[str]) -> None:
        """Ask, run and tell until there are `trials` trials; fails when none is complete."""
        from aigc.core.errors import SweepFailed

        fixed, space = self.split(arguments)
        search = self.search(fixed, space)
        elsewhere = search.take_over(self.settings["take_over"])
        if elsewhere:
            print(f"{len(elsewhere)} trials are with sweeps of other machines")
        first = self.launcher.cell(fixed, {})
        if (left := search.left()) > 0:
            hooks = {"watch": search.prune, "ended": search.tell}
            self.launcher.run(search.cells(), [first], left, listed=False, **hooks)
        if not (best := search.best()):
            raise SweepFailed("no trial is complete; `aigc sweep status` says why")
        for trial in best:
            values = zip(search.objectives, trial.values)
            told = "  ".join(f"{name} {value:.6g}" for name, value in values)
            params = " ".join(f"{k}={v}" for k, v in trial.params.items())
            print(f"{trial.user_attrs['run']}  trial {trial.number}  {told}  {params}")

    def search(self, fixed: list[str], space: Any) -> Any:
        """The study and what its trials are made into; BadInput for settings that do not fit."""
        from aigc.core.errors import BadInput

        try:
            from aigc.lab.sweeps.study import Search, opened
        except ImportError as error:
            raise BadInput("hydra/sweeper=optuna: pip install 'aigc[sweep]'") from error
        s = self.settings
        objectives, directions = listed(s["objective"]), listed(s["direction"])
        if len(directions) == 1:
            directions *= len(objectives)
        if len(directions) != len(objectives):
            raise BadInput(f"{len(objectives)} objectives and {len(directions)} directions")
        if s["pruner"] and len(objectives) > 1:
            raise BadInput("hydra.sweeper.pruner: only a search with one objective is pruned")
        watched = (s["watch"] or objectives[0]) if s["pruner"] else None
        if watched and "/" not in watched:
            raise BadInput(
                f"{watched} is known at the end only: prune by hydra.sweeper.watch=val/loss"
            )
        database = Path(self.config.hydra.sweep.dir).absolute() / "optuna.db"
        study = opened(
            s["storage"] or f"sqlite:///{database}",
            s["name"] or self.config.study,
            directions,
            s["sampler"],
            self.seed,
            s["pruner"],
            s["startup"],
        )

        def cell(chosen: dict[str, str]) -> Any:
            return self.launcher.cell([*fixed, *(f"{k}={v}" for k, v in chosen.items())], chosen)

        return Search(study, space, self.trials, objectives, watched, cell)


def listed(value: Any) -> list[str]:
    """One or several."""
    return [str(v) for v in value] if isinstance(value, ListConfig | list) else [str(value)]
