"""Every line of a table beside one of them: differences, their intervals, and which are sure."""

from dataclasses import dataclass
from math import sqrt

from aigc.analysis.compare import Column, Line, Table
from aigc.analysis.significance import LEVEL, holm, welch
from aigc.core.errors import unknown


@dataclass
class Gap:
    """A cell minus the baseline's; half of its 95 % interval and Holm's p where both have several
    seeds."""

    value: float
    half: float | None = None
    p: float | None = None

    @property
    def sure(self) -> bool:
        """Significant at 5 % over all gaps of the table."""
        return self.p is not None and self.p < LEVEL


Gaps = dict[tuple[int, Column], Gap]


def find(table: Table, name: str) -> Line:
    """The line of that title or family, or of a run's folder name; BadInput if there is none."""
    lines = table.models + table.references
    for line in lines:
        runs = [record.dir.path.name for record in line.records]
        if name.rstrip("/").split("/")[-1] in (line.title, line.family, line.name, *runs):
            return line
    raise unknown("baseline", name, [line.family for line in lines])


def gaps(table: Table, base: Line) -> Gaps:
    """`(index of the model's line, column)` to its gap: of one protocol and one kind only."""
    found: Gaps = {}
    for i, line in enumerate(table.models):
        for column, cell in line.cells.items():
            other = base.cells.get(column)
            alike = other and not (cell.foreign or other.foreign) and cell.kind == other.kind
            if line is not base and alike:
                found[i, column] = _gap(cell.values, other.values)
    tested = [gap for gap in found.values() if gap.p is not None]
    for gap, p in zip(tested, holm([gap.p for gap in tested])):
        gap.p = p
    return found


def _gap(a: tuple[float, ...], b: tuple[float, ...]) -> Gap:
    """Difference of the means by Welch's t."""
    means, counts = [sum(x) / len(x) for x in (a, b)], [len(x) for x in (a, b)]
    if min(counts) < 2:
        return Gap(means[0] - means[1])
    parts = [sum((v - m) ** 2 for v in x) / (n - 1) / n for x, m, n in zip((a, b), means, counts)]
    error, half = sqrt(sum(parts)), 0.0
    if error:
        from scipy.stats import t

        df = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, counts))
        half = float(t.ppf(0.975, df)) * error
    return Gap(means[0] - means[1], half, welch(a, b))
