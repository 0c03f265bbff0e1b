"""The loop that brings cells to their end: so many at a time, failed ones again, and an honest
account."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aigc.lab.sweeps import record
from aigc.lab.sweeps.cells import HOPELESS, Cell
from aigc.lab.sweeps.places import ALONE, Job, Place, Ranks
from aigc.lab.sweeps.screen import Screen
from aigc.lab.sweeps.slots import Slots

GRACE = 60.0  # seconds in which a cell that is told to stop saves its state
PAUSE = 0.1


@dataclass
class Running:
    """A cell and its command."""

    cell: Cell
    job: Job
    devices: list[str]
    stopping: str = ""  # the state that it will have when it has stopped


class Engine:
    """Runs cells at a place.

    A finished run is skipped, one that another process trains is waited for, one that fails is
    tried again up to `retries` times from where it was saved. `judge` are words of `aigc evaluate`
    for each finished cell, None for no evaluation. `watch(cell)` says whether to prune a running
    cell.
    """

    def __init__(
        self, place: Place, slots: Slots, screen: Screen, retries: int, judge: list[str] | None
    ):
        self.place, self.slots, self.screen = place, slots, screen
        self.retries, self.judge = retries, judge
        self.running: list[Running] = []
        self.again: list[Cell] = []
        self.told: int = 0  # the signal that ends the sweep
        self.watch: Callable[[Cell], bool] = lambda cell: False
        self.ended: Callable[[Cell], None] = lambda cell: None

    def run(self, cells: Iterable[Cell]) -> None:
        """Bring all cells to their end; a signal stops those that run, and ends like it."""
        source = iter(cells)
        with self._listening(), self.screen:
            try:
                while not self.told:
                    began = time.monotonic()
                    self._poll()
                    more = not self.told and self._fill(source)
                    self.screen.show([r.cell for r in self.running])
                    if not (more or self.running or self.again):
                        break
                    time.sleep(max(PAUSE, time.monotonic() - began))
                if self.told:
                    self._stop()
            finally:
                for one in self.running:
                    one.job.kill()
                self.place.close()
        if self.told:
            number = abs(self.told)
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    def _fill(self, source: Iterator[Cell]) -> bool:
        """Start cells while there is room; False when the source has no more."""
        waiting, self.again = self.again, []
        while len(self.running) < self.slots.jobs:
            cell = waiting.pop(0) if waiting else next(source, None)
            if cell is None:
                return False
            if not cell.listed:
                record.listed([cell])
            if not self._start(cell):
                self.again.append(cell)
                if not waiting and len(self.again) > self.slots.jobs:
                    break
        self.again += waiting
        return True

    def _start(self, cell: Cell) -> bool:
        """Begin a cell or find that there is nothing to do; False when it has to wait."""
        if cell.run.is_done and (words := self._unjudged(cell)) is None:
            self._end(cell, "done")
            return True
        elif not cell.run.is_done:
            words = cell.command()
            if cell.run.state == "running":  # by somebody else
                return False
        if (devices := self.slots.take(cell)) is None:
            return False
        cell.state = "judging" if cell.run.is_done else "running"
        cell.tries += 1
        self._begin(cell, words, devices)
        return True

    def _begin(self, cell: Cell, words: list[str], devices: list[str]) -> None:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        with cell.log.open("a") as file:
            file.write(f"--- {time.strftime('%F %T')}  aigc {' '.join(words)}\n")
        env = {"WANDB_RUN_GROUP": cell.config["study"], "WANDB_NAME": cell.name}
        env |= {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}
        cell.began = time.time()
        record.changed(cell)
        nodes = cell.config["strategy"]["nodes"]
        ranks = Ranks(cell.processes, nodes) if cell.state == "running" else ALONE
        job = self.place.start(words, str(cell.log), env, ranks)
        self.running.append(Running(cell, job, devices))

    def _unjudged(self, cell: Cell) -> list[str] | None:
        if self.judge is None or cell.run.rows():
            return None
        return cell.judged_by(self.judge)

    def _poll(self) -> None:
        for one in list(self.running):
            if (code := one.job.poll()) is not None:
                self._over(one, code)
            elif not one.stopping and one.cell.state == "running" and self.watch(one.cell):
                one.stopping = "pruned"
                one.job.stop()

    def _over(self, one: Running, code: int) -> None:
        """A command has ended: what that means for its cell."""
        cell = one.cell
        self.running.remove(one)
        self.slots.give(one.devices)
        cell.seconds += time.time() - cell.began
        if cell.run.is_done and (code == 0 or cell.state == "running"):
            words = None if self.told else self._unjudged(cell)
            if words is None or cell.state == "judging":
                self._end(cell, "done")
            else:
                cell.tries = 0
                self.again.insert(0, cell)
        elif one.stopping:
            self._end(cell, one.stopping)
        elif cell.run.state == "running":  # somebody else was faster
            cell.tries -= 1
            self.again.append(cell)
        else:
            self._failed(cell, code)

    def _failed(self, cell: Cell, code: int) -> None:
        cell.reason = cell.why(code)
        hopeless = code == 2 or cell.reason.startswith(HOPELESS)
        if hopeless or cell.tries > self.retries:
            self._end(cell, "failed")
        else:
            self.screen.note(f"{cell.title} failed and is tried again: {cell.reason}")
            self.again.append(cell)

    def _end(self, cell: Cell, state: str) -> None:
        cell.state = state
        if state == "done":
            cell.reason = ""
        self.ended(cell)
        if cell.tries:
            record.changed(cell, log=str(cell.log))
        self.screen.over(cell)

    def _stop(self) -> None:
        """Tell all cells to save their states, and wait; a second signal waits no longer."""
        self.screen.note(f"stopping {len(self.running)} cells, which save their states")
        first, until = self.told, time.time() + GRACE
        for one in self.running:
            one.stopping = one.stopping or "stopped"
            one.job.stop()
        while self.running and time.time() < until and self.told == first:
            self._poll()
            time.sleep(PAUSE)
        for one in self.running:
            self._end(one.cell, "stopped")

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM are noted; a second one is another number."""

        def note(number: int, *_: object) -> None:
            self.told = number if not self.told else -number

        kept = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


def unfinished(cells: list[Cell]) -> list[Cell]:
    """The cells that are not done, or pruned as they should be."""
    return [c for c in cells if c.state not in ("done", "pruned")]
