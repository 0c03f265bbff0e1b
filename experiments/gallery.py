"""Write the gallery of README.md: each study's figure with what its verdicts are.

python experiments/gallery.py
"""

import re
from pathlib import Path

from aigc.lab.studies import Study, studies

README = Path(__file__).resolve().parents[1] / "README.md"
PART = re.compile(r"(?<=<!-- gallery -->\n).*(?=<!-- end -->)", re.S)
COLUMNS = 3


def cell(name: str, study: Study) -> str:
    """A thumbnail that links to the study, its paper and its verdicts."""
    held = study.status.partition(", ")[0]
    return (
        f'<td width="33%" valign="top"><a href="experiments/{name}">'
        f'<img src="experiments/{name}/results/figure.png" alt="{study.facts["claim"]}"></a>'
        f"<br>{study.facts['paper'].rstrip('?')}: {held}</td>"
    )


def gallery() -> str:
    """The table, of studies that were made."""
    made = {name: s for name, s in studies().items() if s.status != "not made"}
    cells = [cell(name, study) for name, study in made.items()]
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    lines = [line for row in rows for line in ("<tr>", *row, "</tr>")]
    return "\n".join(["<table>", *lines, "</table>", ""])


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(PART.sub(lambda _: gallery(), text))
