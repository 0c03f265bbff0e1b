"""A search by Optuna: trials become cells, and what came of the cells is told to the study.

Trials live in a database, so that a study goes on where it was interrupted, and several machines
may work on one. A trial whose cell did not come to its end is asked for again, and its run goes on
from its state.
"""

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from aigc.core.errors import BadInput, unknown
from aigc.lab.sweeps.cells import Cell
from aigc.lab.sweeps.objective import Missing, value
from aigc.lab.sweeps.space import Choice, Interval, Space
from aigc.lab.sweeps.table import series

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[int], optuna.pruners.BasePruner]] = {
    "median": lambda startup: optuna.pruners.MedianPruner(startup),
    "hyperband": lambda startup: optuna.pruners.HyperbandPruner(),
    "halving": lambda startup: optuna.pruners.SuccessiveHalvingPruner(),
}
OWNER, AGAIN, WHY, RUN = "owner", "asked again", "reason", "run"


class Search:
    """Cells for `trials` trials of a study, those of earlier sessions included."""

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        trials: int,
        objectives: list[str],
        watched: str | None,
        cell: Callable[[dict[str, str]], Cell],
    ):
        self.study, self.trials, self.objectives = study, trials, objectives
        self.watched, self.cell = watched, cell
        self.space = {key: distribution(choice) for key, choice in space.items()}
        self.asked: dict[int, Trial] = {}
        self.reported: dict[int, int] = {}

    def left(self) -> int:
        """Trials that nobody has begun yet."""
        every = self.study.get_trials(deepcopy=False)
        begun = sum(t.state != TrialState.WAITING for t in every)
        return self.trials - begun + len({t.user_attrs.get(AGAIN) for t in every} - {None})

    def cells(self) -> Iterator[Cell]:
        """Ask for trials, one when there is room for it."""
        while self.left() > 0:
            trial = self.study.ask(self.space)
            trial.set_user_attr(OWNER, f"{platform.node()} {os.getpid()}")
            cell = self.cell({key: str(v) for key, v in trial.params.items()})
            trial.set_user_attr(RUN, str(cell.run))
            self.asked[id(cell)] = trial
            yield cell

    def prune(self, cell: Cell) -> bool:
        """Report what is new in a cell's log; whether the pruner has seen enough."""
        if not self.watched:
            return False
        trial, before = self.asked[id(cell)], self.reported.get(id(cell), 0)
        rows = [row for row in series(cell.run, self.watched) if row[0] > before]
        for examples, found in rows:
            trial.report(found, examples)
        if rows:
            self.reported[id(cell)] = rows[-1][0]
        return bool(rows) and trial.should_prune()

    def tell(self, cell: Cell) -> None:
        """Tell the study how a cell ended."""
        trial = self.asked.pop(id(cell))
        if cell.state == "done":
            try:
                values = [value(cell.run, name) for name in self.objectives]
            except Missing as error:
                cell.state, cell.reason = "failed", str(error)
            else:
                self.study.tell(trial, values)
                return
        if cell.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        if cell.state == "failed":
            trial.set_user_attr(WHY, cell.reason)
        else:
            self._ask_again(trial)
            return
        self.study.tell(trial, state=TrialState.FAIL)

    def take_over(self, everywhere: bool) -> list[FrozenTrial]:
        """Ask again for trials whose sweep is gone; those of other machines, which cannot be
        known to be gone, are given back unless they are taken over `everywhere`."""
        elsewhere = []
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            machine, number = (trial.user_attrs.get(OWNER) or "? 0").split()
            here = machine in (platform.node(), "?")
            if not (everywhere or here):
                elsewhere.append(trial)
            elif everywhere or not _alive(int(number)):
                self._ask_again(trial)
        return elsewhere

    def best(self) -> list[FrozenTrial]:
        """The best trial, or those that no other beats in all objectives; none before one is
        complete."""
        if not self.study.get_trials(states=[TrialState.COMPLETE]):
            return []
        return self.study.best_trials if len(self.objectives) > 1 else [self.study.best_trial]

    def _ask_again(self, trial: Trial | FrozenTrial) -> None:
        self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
        self.study.tell(trial.number, state=TrialState.FAIL)


def opened(
    storage: str,
    name: str,
    directions: list[str],
    sampler: str,
    seed: int,
    pruner: str | None,
    startup: int,
) -> optuna.Study:
    """The study `name` in a database, a new one or as it was left; BadInput where the database
    cannot be reached or holds another kind of study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if sampler not in SAMPLERS:
        raise unknown("hydra.sweeper.sampler", sampler, SAMPLERS)
    if pruner not in (None, *PRUNERS):
        raise unknown("hydra.sweeper.pruner", pruner, PRUNERS)
    for direction in directions:
        if direction not in ("minimize", "maximize"):
            raise unknown("hydra.sweeper.direction", direction, ["minimize", "maximize"])
    if storage.startswith("sqlite:///"):
        Path(storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=directions,
            sampler=SAMPLERS[sampler](seed),
            pruner=PRUNERS[pruner](startup) if pruner else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    except Exception as error:
        raise _unreachable(storage, error) from error
    if [d.name.lower() for d in study.directions] != directions:
        were = ", ".join(d.name.lower() for d in study.directions)
        raise BadInput(f"the study '{name}' was begun with directions {were}: take another name")
    return study


def distribution(choice: Choice | Interval) -> BaseDistribution:
    """Optuna's form of a choice."""
    if isinstance(choice, Choice):
        return CategoricalDistribution(choice.values)
    if choice.whole:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log)
    return FloatDistribution(choice.low, choice.high, log=choice.log)


def _unreachable(storage: str, error: Exception) -> Exception:
    """BadInput for what a database or its driver says; other errors as they are."""
    kind = type(error).__module__.split(".")[0]
    if kind != "sqlalchemy" and not isinstance(error, ImportError | ValueError):
        return error
    place = storage.split("@")[-1]  # no password in a message
    hint = ""
    if isinstance(error, ImportError) and storage.startswith("postgresql"):
        hint = "; pip install 'psycopg[binary]' and write postgresql+psycopg://"
    line = str(error).splitlines()[0]
    return BadInput(f"hydra.sweeper.storage: {place}: {line}{hint}")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process > 0
