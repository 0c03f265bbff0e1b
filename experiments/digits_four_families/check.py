"""Hold the runs of this study against its claims.

    python experiments/digits_four_families/check.py runs/digits_four_families

Prints a line for each run and claim; the exit code is 1 where a claim of `limits.json` fails.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

import aigc
from aigc.analysis.load import Record, collect

EXPECTED = json.loads((Path(__file__).parent / "limits.json").read_text())


def main(paths: list[str]) -> int:
    """Check every run below `paths`; the number of claims that failed."""
    records = collect(paths)
    classifier, accuracy = real_classifier(records[0])
    print(f"classifier trained on real data: {accuracy:.3f} right on the test split")
    failed = [claim for record in records for claim in check(record, classifier)]
    if accuracy < EXPECTED["classifier_accuracy"]:
        failed.append("the classifier is too weak to judge")
    print(f"{len(failed)} claims failed" + "".join(f"\n  {claim}" for claim in failed))
    return len(failed)


def real_classifier(record: Record) -> tuple[SVC, float]:
    """A support vector machine on the training split, and its accuracy on the test split."""
    store = aigc.load(record.dir.path).store
    (x, y), (x_test, y_test) = (
        flat(store.ids(part), store.labels(part)) for part in ("train", "test")
    )
    classifier = SVC(C=10, gamma=0.001).fit(x, y)
    return classifier, classifier.score(x_test, y_test)


def check(record: Record, classifier: SVC) -> list[str]:
    """The claims that this run fails."""
    name = record.dir.path.name
    samples = aigc.load(record.dir.path).sample(EXPECTED["samples"], seed=0)
    x, y = flat(samples.ids, samples.y)
    found = classifier.predict(x)
    fewest = np.bincount(found, minlength=10).min()
    claims = {"ten classes": fewest > 0}
    scores = {row["extractor"]: row["value"] for row in record.rows if row["metric"] == "fd"}
    notes = []
    for extractor, fd in scores.items():
        rows = [r for r in record.references if (r["metric"], r["extractor"]) == ("fd", extractor)]
        reference = {row["of"]: row["value"] for row in rows}
        short = extractor.split("@")[0]
        claims[f"{short}: below the Gaussian fit"] = fd < reference["gaussian"]
        claims[f"{short}: below the marginals"] = fd < reference["marginals"]
        floors = fd / reference["real"]
        if record.family == "diffusion":
            claims[f"{short}: near the floor"] = floors < EXPECTED["diffusion_floors"]
        notes.append(f"FD {short} {fd:.2f} = {floors:.1f} floors")
    print(
        f"{name}: {len(set(found))} classes, rarest {fewest} of {len(found)}; "
        f"label as asked {np.mean(found == y):.3f}; {'; '.join(notes)}",
        flush=True,
    )
    return [f"{name}: {claim}" for claim, holds in claims.items() if not holds]


def flat(ids, y) -> tuple[np.ndarray, np.ndarray]:
    """Ids 0 to 16 as rows of pixels, with labels."""
    return np.asarray(ids).reshape(len(ids), -1).astype(float), np.asarray(y)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:] or ["runs/digits_four_families"])))
