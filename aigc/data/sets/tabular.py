"""Standard tables, and your own CSV."""

import numpy as np
import pandas as pd

from aigc.core.errors import BadInput, unknown
from aigc.data.datasets import Source, dataset, locate
from aigc.data.files import own_path, read_csv

_ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()


@dataset(
    "tabular",
    licence="CC BY 4.0 (UCI)",
    classes=2,
    places=("tabular/adult/adult.data", "adult/adult.data"),
    hint="download adult.data from the UCI repository",
)
def adult() -> Source:
    """Adult: 32,561 people of the 1994 census; label = income above 50K (Becker & Kohavi 1996)."""
    frame = pd.read_csv(
        locate("adult"), header=None, names=_ADULT, skipinitialspace=True, na_values="?"
    )
    return _labelled(frame, "income")


@dataset(
    "tabular",
    licence="public (StatLib)",
    places=("tabular/california_housing/housing.csv", "california_housing/housing.csv"),
)
def california_housing() -> Source:
    """California housing: 20,640 districts, ten columns with gaps (Pace & Barry 1997)."""
    return Source({"train": read_csv(locate("california_housing"))})


@dataset(
    "tabular",
    licence="CC0",
    classes=3,
    places=("tabular/penguins/penguins.csv", "penguins/penguins.csv"),
)
def penguins() -> Source:
    """Palmer penguins: 344 birds, seven columns with gaps; label = species (Horst et al. 2020)."""
    return _labelled(read_csv(locate("penguins")), "species")


@dataset("tabular", kind="own", licence="yours")
def csv(path: str | None = None, target: str | None = None) -> Source:
    """Any CSV with a header (`dataset.path=FILE`); `dataset.target` names the label column, if
    any."""
    frame = read_csv(own_path(path, "csv", "file"))
    if target is None:
        return Source({"train": frame})
    if target not in frame.columns:
        raise unknown("column for dataset.target", target, map(str, frame.columns))
    values = frame[target].nunique()
    if not 2 <= values <= max(2, len(frame) // 2):
        raise BadInput(
            f"dataset.target={target} has {values} values in {len(frame)} rows: no label"
        )
    return _labelled(frame, target)


def _labelled(frame: pd.DataFrame, target: str) -> Source:
    """The label column stays in the table, so a sampled row is whole; rows without label are
    dropped."""
    frame = frame[frame[target].notna()].reset_index(drop=True)
    names, y = np.unique(frame[target].astype(str), return_inverse=True)
    return Source({"train": frame}, {"train": y}, names.tolist())
