"""From rows to a table: means and intervals over seeds, and what may be ranked with what."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from aigc.analysis import significance
from aigc.analysis.load import REFERENCES, Record
from aigc.analysis.recipe import differences, matched, picked, recipe, varied
from aigc.core.errors import unknown

NAMES = {
    "autoregressive": "Autoregressive",
    "diffusion": "Diffusion",
    "masked_diffusion": "Masked diffusion",
    "uniform_diffusion": "Uniform diffusion",
    "vae": "VAE",
    "gan": "GAN",
    "vqvae": "VQ-VAE",
    "text_gan": "Text GAN",
    "text_vae": "Text VAE",
    "real": "Real data (floor)",
    "gaussian": "Gaussian fit",
    "marginals": "Marginals",
    "smote": "SMOTE",
    "copies": "Training copies",
}
ORDER = tuple(name for name in NAMES if name not in REFERENCES)


@dataclass(frozen=True)
class Column:
    """A metric on an extractor, with the protocol that most of its cells share."""

    metric: str
    extractor: str | None
    better: str
    target: float | None
    axis: str
    protocol: str

    @property
    def title(self) -> str:
        """`fd randconv32`."""
        return f"{self.metric} {self.extractor.split('@')[0]}" if self.extractor else self.metric


@dataclass
class Cell:
    """A mean over training seeds and half the width of its 95 % interval."""

    value: float
    half: float | None
    seeds: int
    kind: str | None
    protocol: str
    best: bool = False
    foreign: bool = False  # of another protocol than its column
    values: tuple[float, ...] = ()  # of each seed


@dataclass
class Line:
    """One row of the table.

    `differs` are the settings in which it differs from others of its family in the table; lines
    of one `recipe` differ in the sampler alone; `averaged` are settings that its runs differ in.
    """

    name: str
    family: str
    sampler: str = ""
    differs: str = ""
    cells: dict[Column, Cell] = field(default_factory=dict)
    reasons: dict[Column, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    recipe: str = ""
    averaged: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The sampler's name, and what sets the line apart."""
        return " ".join(filter(None, [self.sampler.split(" ")[0], self.differs]))

    @property
    def title(self) -> str:
        """The family, and what sets the line apart."""
        return f"{self.name} ({self.differs})" if self.differs else self.name

    @property
    def detail(self) -> str:
        """The sampler with its settings, and what sets the line apart."""
        return "; ".join(filter(None, [self.sampler, self.differs]))


@dataclass
class Table:
    """The comparison of the runs of one data set."""

    dataset: str
    modality: str
    columns: list[Column]
    models: list[Line]
    references: list[Line]

    @property
    def notes(self) -> list[str]:
        """What a reader must know: cells of foreign protocols, mixed kinds of likelihood, few
        seeds."""
        out = [
            f"{line.title}: a mean over runs that differ in {', '.join(line.averaged)}."
            for line in self.models
            if line.averaged
        ]
        out += matched({line.title: line.records for line in self.models})
        alarms = [(line, r.alarm) for line in self.models for r in line.records if r.alarm]
        out += [f"{line.title}: {alarm}." for line, alarm in alarms]
        for column in self.columns:
            for line in self.models + self.references:
                cell = line.cells.get(column)
                if cell and cell.foreign:
                    out.append(
                        f"{line.title}, {column.title}: measured as “{cell.protocol}”, "
                        f"the column as “{column.protocol}”; shown with a dagger and not ranked."
                    )
        if any(significance.mixed_kinds(self.models, column) for column in self.columns):
            out.append(
                "Likelihoods marked ≤ are upper bounds; exact values and bounds are not ranked."
            )
        out += significance.orders(self.models, self.columns)
        out += significance.differences(self.models, self.columns)
        seeds = {c.seeds for line in self.models for c in line.cells.values()}
        if seeds == {1}:
            out.append(
                "One training seed each: intervals are ±1.96 standard deviations over halves of "
                "the examples (likelihoods: standard errors) and say nothing of other seeds."
            )
        elif seeds:
            out.append(
                "Intervals are 95 % t intervals over training seeds, where there are several."
            )
        return out


def tables(
    records: list[Record], metrics: list[str] | None = None, by: list[str] | None = None
) -> list[Table]:
    """One table a data set, in order of first appearance.

    Runs of one family that differ in nothing but the seed are one line, or those that agree in the
    settings `by` (dotted names).

    Columns are the metrics that are shown unless others are asked for, or those of `metrics`
    (names, or `all`); BadInput where no run has such a one.
    """
    _check_names(records, metrics)
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        content = record.dir.status["data"].get("hash")  # of own files: two may share a name
        groups[record.dataset, record.modality, content].append(record)
    names = Counter(dataset for dataset, _, _ in groups)
    return [
        _table(f"{name} #{content[:4]}" if names[name] > 1 else name, modality, group, metrics, by)
        for (name, modality, content), group in groups.items()
    ]


def _table(
    dataset: str,
    modality: str,
    records: list[Record],
    metrics: list[str] | None,
    by: list[str] | None,
) -> Table:
    columns = _columns(records, metrics)
    models = _model_lines(records, columns, by)
    references = _reference_lines(records, columns)
    columns = [c for c in columns if any(c in line.cells for line in models)]
    for column in columns:
        significance.rank(models, column)
    significance.agree(models, columns)
    return Table(dataset, modality, columns, models, references)


def _columns(records: list[Record], metrics: list[str] | None) -> list[Column]:
    facts: dict[tuple, dict[str, Any]] = {}
    protocols: dict[tuple, Counter] = defaultdict(Counter)
    for record in records:
        for row in record.rows:
            key = row["metric"], row["extractor"]
            facts.setdefault(key, row)
            if row["status"] == "ok":
                protocols[key][row["protocol"]] += 1
    axes = ["fidelity", "diversity", "memorisation", "likelihood", "cost"]
    columns = [
        Column(*key, row["better"], row["target"], row["axis"], protocols[key].most_common(1)[0][0])
        for key, row in facts.items()
        if protocols[key] and _wanted(row, metrics)
    ]
    return sorted(columns, key=lambda c: axes.index(c.axis))


def _wanted(row: dict[str, Any], metrics: list[str] | None) -> bool:
    if metrics is None:
        return row.get("shown", True)
    return "all" in metrics or row["metric"] in metrics


def _check_names(records: list[Record], metrics: list[str] | None) -> None:
    """BadInput for a metric of which no run has a value."""
    known = {row["metric"] for r in records for row in r.rows if row["status"] == "ok"}
    for name in metrics or []:
        if name not in (*known, "all"):
            raise unknown("metric in these results", name, [*known, "all"])


def _model_lines(records: list[Record], columns: list[Column], by: list[str] | None) -> list[Line]:
    """Runs that differ in nothing but the seed, or agree in `by`, are one line; so is each sampler
    of them."""
    groups: dict[tuple, list[tuple[Record, dict]]] = defaultdict(list)
    for record in records:
        for row in record.rows:
            row = {**row, "run": str(record.dir)}
            made = picked(record.config, by) if by else recipe(record.config)
            groups[record.family, made, row["sampler"]].append((record, row))
    lines = []
    for (family, made, sampler), pairs in groups.items():
        line = Line(NAMES.get(family, family), family, sampler, recipe=made)
        line.records = list({id(record): record for record, _ in pairs}.values())
        for column in columns:
            _fill(line, column, [row for _, row in pairs])
        line.averaged = varied([record.config for record in line.records]) if by else []
        line.differs = made if by else ""
        lines.append(line)
    for family in {line.family for line in lines} if not by else ():
        own = [line for line in lines if line.family == family]
        told = differences([line.records[0].config for line in own], [line.sampler for line in own])
        for line, text in zip(own, told):
            line.differs = text
    rank = {family: i for i, family in enumerate(ORDER)}
    return sorted(lines, key=lambda line: rank.get(line.family, len(rank)))


def _reference_lines(records: list[Record], columns: list[Column]) -> list[Line]:
    """Reference rows are functions of the data: equal ones of several runs are one."""
    lines = []
    for of in REFERENCES:
        rows = {
            (row["metric"], row["extractor"], row["protocol"]): row
            for record in records
            for row in record.references
            if row["of"] == of
        }
        line = Line(NAMES[of], of)
        for column in columns:
            _fill(line, column, list(rows.values()))
        if line.cells:
            lines.append(line)
    return lines


def _fill(line: Line, column: Column, rows: list[dict[str, Any]]) -> None:
    """The cell of a line: rows of the column's protocol if there are any, else of the commonest."""
    mine = [r for r in rows if (r["metric"], r["extractor"]) == (column.metric, column.extractor)]
    ok = [row for row in mine if row["status"] == "ok"]
    if not ok:
        if mine:
            line.reasons[column] = mine[0]["reason"]
        return
    protocols = Counter(row["protocol"] for row in ok)
    protocol = column.protocol if column.protocol in protocols else protocols.most_common(1)[0][0]
    chosen = [row for row in ok if row["protocol"] == protocol]
    by_run: dict[Any, list[float]] = defaultdict(list)
    for i, row in enumerate(chosen):  # several evaluations of a run are no training seeds
        by_run[row.get("run", i)].append(row["value"])
    values = [sum(own) / len(own) for own in by_run.values()]
    mean, half = interval(values, chosen[0]["sd"])
    if column.axis == "cost" and not half:
        half = None  # a count that is the same for all seeds
    line.cells[column] = Cell(
        *(mean, half, len(values), chosen[0]["kind"], protocol),
        foreign=protocol != column.protocol,
        values=tuple(values),
    )


def interval(values: list[float], sd: float | None) -> tuple[float, float | None]:
    """Mean, and half of the 95 % interval: of Student's t over several runs, +-1.96 sd of a
    single one."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None if sd is None else 1.96 * sd
    from scipy.stats import t

    spread = sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, float(t.ppf(0.975, len(values) - 1)) * spread / sqrt(len(values))
