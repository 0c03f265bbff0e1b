"""The sixteen cells as one Markdown table.

    python experiments/sixteen_cells/table.py runs/sixteen_cells

A cell reads `FD / bits`: the Frechet distance on random convolutional features (n-grams for text),
and bits per dimension (bits per byte for text), exact or an upper bound (<=).
"""

import sys

from aigc.analysis.compare import Line, Table, tables
from aigc.analysis.load import collect

ORDER = ("image", "text", "audio", "tabular")


def main(paths: list[str]) -> None:
    """Print the table."""
    found = sorted(tables(collect(paths)), key=lambda table: ORDER.index(table.modality))
    heads = [f"{table.modality} ({table.dataset})" for table in found]
    print(f"| FD / bits | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(found)}")
    names = [line.name for line in found[0].models + found[0].references]
    for name in names:
        print(f"| {name} | {' | '.join(cell(table, name) for table in found)} |")
    for table in found:
        print(*(f"\n{table.dataset}: {note}" for note in table.notes if "Welch" in note))


def cell(table: Table, name: str) -> str:
    """`0.90 / ≤ 1.81`, with a dash for what a line does not have."""
    lines = [line for line in table.models + table.references if line.name == name]
    if not lines:
        return "–"
    likelihood = "bits_per_byte" if table.modality == "text" else "bits_per_dim"
    return f"{value(lines[0], 'fd', '.2f')} / {value(lines[0], likelihood, '.2f')}"


def value(line: Line, metric: str, form: str) -> str:
    """The line's value of a metric on its first extractor, with its interval over several seeds."""
    cells = [c for column, c in line.cells.items() if column.metric == metric]
    if not cells:
        return "–"
    spread = f" ± {cells[0].half:{form}}" if cells[0].seeds > 1 and cells[0].half else ""
    return f"{'≤ ' if cells[0].kind == 'bound' else ''}{cells[0].value:{form}}{spread}"


if __name__ == "__main__":
    main(sys.argv[1:] or ["runs/sixteen_cells"])
