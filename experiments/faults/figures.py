"""The tables of what runs survive, from `faults.json` alone.

python experiments/faults/figures.py [faults.json ...]
"""

import json
import sys
from pathlib import Path

Row = dict[str, float | str]
HERE = Path(__file__).parent
SUMS = ("tries", "survived", "lost_rows", "seconds")


def bound(tries: int, survived: int) -> str:
    """At 95 %, how often a fault may do harm that did none in `tries`: the rule of three."""
    return f"≤ {min(1, 3 / tries):.0%}" if tries and tries == survived else "–"


def faults(rows: list[Row]) -> list[str]:
    """A line a fault."""
    lines = ["| | fault | survived | lost steps | lost rows | fails, 95 % | seconds |"]
    lines += ["|--:|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        tries, held = row["tries"], row["survived"]
        cells = [row["id"], row["fault"], f"{held} of {tries}", row["lost_steps"], row["lost_rows"]]
        cells += [bound(tries, held), f"{row['seconds']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def inputs(rows: list[Row]) -> list[str]:
    """A line a class of malicious input."""
    lines = ["| class | tried | accepted |", "|---|--:|--:|"]
    lines += [f"| {row['class']} | {row['tried']} | {row['accepted']} |" for row in rows]
    tried, accepted = (sum(row[key] for row in rows) for key in ("tried", "accepted"))
    return [*lines, f"| all | {tried} | {accepted} |"]


def merged(files: list[dict]) -> dict[str, list[Row]]:
    """Rows of several files as one: sums, and the most steps lost."""
    out = files[0]
    for other in files[1:]:
        for one, more in zip(out["rows"], other["rows"]):
            one |= {key: one[key] + more[key] for key in SUMS}
            one["lost_steps"] = max(one["lost_steps"], more["lost_steps"])
    return out


def main(*paths: str) -> None:
    """Print Markdown; more files are longer forms of the same tests."""
    given = paths or sorted(map(str, (HERE / "results").glob("*.json")))
    found = merged([json.loads(Path(path).read_text()) for path in given])
    print("\n".join([*faults(found["rows"]), "", *inputs(found["inputs"])]))


if __name__ == "__main__":
    main(*sys.argv[1:])
