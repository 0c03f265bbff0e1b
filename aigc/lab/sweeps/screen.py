"""What one sees of a sweep: a live table in a terminal, a line for each ended cell elsewhere."""

import sys
import time
from collections import Counter
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aigc.lab.sweeps.cells import Cell

OFTEN, SELDOM = 0.5, 60.0  # seconds between two pictures, or two lines
LONGEST = 60  # characters of a title in the table


class Screen:
    """Shows a sweep of `total` cells on stderr."""

    def __init__(self, title: str, total: int, console: Console | None = None):
        self.title, self.total = title, total
        self.console = console or Console(stderr=True, highlight=False)
        self.counts: Counter[str] = Counter()
        self.kept = 0  # that were done before
        self.began, self.due, self.failures = time.monotonic(), 0.0, []
        self.live: Live | None = None

    def __enter__(self) -> "Screen":
        self.began = time.monotonic()
        self.due = self.began + (0 if self.console.is_terminal else SELDOM)
        if self.console.is_terminal:  # drawn by `show`: no thread, since cells are forked
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live:
            self.live.stop()
        self.note(self.summary([]))
        for cell in self.failures:
            again = f"{cell.tries} tries, " if cell.tries > 1 else ""
            self.note(f"  failed  {cell.title}: {cell.reason} ({again}{cell.log})")

    def over(self, cell: Cell) -> None:
        """A cell has ended."""
        self.counts[cell.state] += 1
        if cell.state == "failed":
            self.failures.append(cell)
        if cell.state == "done" and not cell.tries:
            self.kept += 1
            return
        self.note(self._line(cell))

    def note(self, line: str) -> None:
        """A line that stays."""
        if not self.live:
            print(line, file=sys.stderr, flush=True)
        else:
            self.console.print(Text(line, no_wrap=True, overflow="ellipsis"))

    def show(self, running: list[Cell]) -> None:
        """How far the cells are, when it is time to say so."""
        if (now := time.monotonic()) < self.due:
            return
        if self.live:
            self.live.update(self.picture(running), refresh=True)
        else:
            self.note(self.summary(running))
        took = time.monotonic() - now  # it reads the log of each cell that runs
        self.due = now + max(OFTEN if self.live else SELDOM, 20 * took)

    def summary(self, running: list[Cell]) -> str:
        """`4 of 12 done (1 before), 1 failed, 2 running, 5 waiting, 0:31, about 0:40 left`."""
        done = self.counts["done"]
        before = f" ({self.kept} before)" if self.kept else ""
        parts = [f"{self.title}: {done} of {self.total} done{before}"]
        others = {s: n for s, n in self.counts.items() if s != "done"}
        waiting = self.total - self.counts.total() - len(running)
        others |= {"running": len(running), "waiting" if running else "not begun": waiting}
        parts += [f"{n} {state}" for state, n in others.items() if n > 0]
        parts.append(clock(time.monotonic() - self.began))
        if left := self.left(running):
            parts.append(f"about {clock(left)} left")
        return ", ".join(parts)

    def left(self, running: list[Cell]) -> float | None:
        """Seconds that the rest takes at the speed so far; None where there is none yet."""
        partly = sum(cell.done for cell in running)
        brought = self.counts.total() - self.kept + partly
        missing = self.total - self.counts.total() - partly
        spent = time.monotonic() - self.began
        return spent * missing / brought if brought > 0 and running else None

    def picture(self, running: list[Cell]) -> Group:
        """The table of cells that run, under the summary."""
        grid = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for _ in range(5):
            grid.add_column(no_wrap=True)
        room = max(3, self.console.height - 4)
        for cell in running[:room]:
            spent = clock(time.time() - cell.began)
            share = cell.done if cell.state == "running" else 1.0
            bar = ProgressBar(1.0, share, width=24)
            grid.add_row(cell.title[:LONGEST], bar, f"{share:4.0%}", spent, self._news(cell))
        more = [Text(f"and {len(running) - room} more", "dim")] if len(running) > room else []
        return Group(Text(self.summary(running), "bold"), grid, *more)

    def _news(self, cell: Cell) -> Text:
        return Text("being judged" if cell.state == "judging" else cell.latest, "cyan")

    def _line(self, cell: Cell) -> str:
        count = f"[{self.counts.total()}/{self.total}]"
        what = cell.reason if cell.state == "failed" else cell.latest
        return f"{count} {cell.state:8}{cell.title}  {clock(cell.seconds)}  {what}".rstrip()


def clock(seconds: float) -> str:
    """`0:07`, `12:30` or `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
