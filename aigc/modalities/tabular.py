"""Tables: every column as levels, by a schema inferred from the data frame."""

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aigc.core.errors import BadInput
from aigc.core.spec import Space
from aigc.modalities.base import Codec


class TabularCodec(Codec):
    """Data frames to ids `(N, columns)`.

    Numbers and dates with at most `bins` different values keep each value; others fall into
    `bins` bins (`quantile`, equally filled; or `uniform`, equally wide) and decode to an
    observed value of the bin, its median. Text, booleans and categories keep each value. A
    missing value is a level of its own, the first. Decoding restores column order, names and
    dtypes.
    """

    modality = "tabular"

    def __init__(self, bins: int = 32, binning: Literal["quantile", "uniform"] = "quantile"):
        if bins < 2:
            raise BadInput(f"modality.codec.bins={bins}: at least 2")
        if binning not in ("quantile", "uniform"):
            raise BadInput(f"modality.codec.binning={binning}: choose from quantile, uniform")
        self.bins, self.binning = bins, binning

    def fit(self, parts: list[pd.DataFrame]) -> Self:
        """Infer the schema: for each column its values or its bin edges."""
        frame = pd.concat(parts, ignore_index=True)
        if not len(frame) or not len(frame.columns):
            raise BadInput("the table is empty")
        self.columns = [self._column(name, frame[name]) for name in frame.columns]
        self._set_space()
        return self

    def encode(self, raw: pd.DataFrame) -> Tensor:
        """Rows to ids; raises BadInput for missing columns and for categories that `fit` has not
        seen."""
        if missing := [c["name"] for c in self.columns if c["name"] not in raw.columns]:
            raise BadInput(f"the table lacks the columns {', '.join(map(str, missing))}")
        return torch.from_numpy(np.stack([_encode(c, raw[c["name"]]) for c in self.columns], 1))

    def decode(self, ids: Tensor) -> pd.DataFrame:
        """Ids to rows with the original column names, order and dtypes."""
        columns = ids.cpu().numpy().T
        return pd.DataFrame(
            {c["name"]: _decode(c, column) for c, column in zip(self.columns, columns)}
        )

    def field(self, ids: Tensor) -> Tensor:
        """`(B, d)`: an ordered column as a number in [0, 1], a category as one of K (over sqrt
        2)."""
        parts = []
        for column, levels, ordered in zip(ids.unbind(1), self.space.levels, self.space.ordered):
            if ordered:
                parts.append(column[:, None].float() / max(levels - 1, 1))
            else:
                parts.append(torch.nn.functional.one_hot(column, levels).float() * 0.5**0.5)
        return torch.cat(parts, dim=1)

    def render(self, ids: Tensor, folder: Path) -> list[Path]:
        """One CSV."""
        path = folder / "samples.csv"
        self.decode(ids).to_csv(path, index=False)
        return [path]

    def state(self) -> dict[str, Any]:
        """The schema."""
        return {"columns": self.columns}

    def restore(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        self.columns = state["columns"]
        self._set_space()
        return self

    def _column(self, name: Any, series: pd.Series) -> dict[str, Any]:
        present = series.dropna()
        column = {"name": name, "dtype": str(series.dtype), "missing": bool(series.isna().any())}
        column["ordered"] = _is_ordered(series)
        if not column["ordered"]:
            values = present.astype(str) if series.dtype == object else present
            column["values"] = sorted(values.unique().tolist())
            return column
        numbers = _numbers(present)
        if not np.isfinite(numbers).all():
            raise BadInput(f"column '{name}' holds an infinite value")
        values = np.unique(numbers)
        if len(values) > self.bins:
            edges = self._edges(numbers)
            column["edges"] = edges.tolist()
            values = _representatives(numbers, edges)
        column["values"] = [v.item() for v in values]
        return column

    def _edges(self, numbers: np.ndarray) -> np.ndarray:
        """Inner edges; bin k holds `edges[k-1] < x <= edges[k]`."""
        if self.binning == "uniform":
            return np.linspace(numbers.min(), numbers.max(), self.bins + 1)[1:-1]
        inner = np.quantile(numbers, np.linspace(0, 1, self.bins + 1)[1:-1], method="lower")
        inner = np.unique(inner)
        return inner[inner < numbers.max()]

    def _set_space(self) -> None:
        levels = tuple(len(c["values"]) + c["missing"] for c in self.columns)
        ordered = tuple(c["ordered"] for c in self.columns)
        self.space = Space((len(levels),), levels, ordered=ordered)


def _is_ordered(series: pd.Series) -> bool:
    is_bool = pd.api.types.is_bool_dtype(series)
    is_date = pd.api.types.is_datetime64_any_dtype(series)
    return (pd.api.types.is_numeric_dtype(series) and not is_bool) or is_date


def _numbers(series: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(series):
        return series.astype("int64").to_numpy()
    return series.to_numpy(dtype="int64" if pd.api.types.is_integer_dtype(series) else "float64")


def _representatives(numbers: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """For each bin the lower median of what fell in it; an empty (uniform) bin takes its middle."""
    order = np.sort(numbers)
    starts = np.concatenate([[0], np.searchsorted(order, edges, side="right")])
    ends = np.append(starts[1:], len(order))
    bounds = np.concatenate([[order[0]], edges, [order[-1]]])
    middle = ((bounds[:-1] + bounds[1:]) / 2).astype(order.dtype)
    index = np.clip((starts + ends - 1) // 2, 0, len(order) - 1)
    return np.where(ends > starts, order[index], middle)


def _encode(column: dict[str, Any], series: pd.Series) -> np.ndarray:
    gaps = series.isna().to_numpy()
    if gaps.any() and not column["missing"]:
        raise BadInput(
            f"column '{column['name']}' has missing values; the schema was fitted without"
        )
    ids = np.zeros(len(series), np.int64)
    present = series[~gaps]
    if "edges" in column:
        found = np.searchsorted(column["edges"], _numbers(present), side="left")
    else:
        found = _lookup(column, present)
    ids[~gaps] = found + column["missing"]
    return ids


def _lookup(column: dict[str, Any], present: pd.Series) -> np.ndarray:
    if column["ordered"]:
        present = pd.Series(_numbers(present))
    elif present.dtype == object:
        present = present.astype(str)
    index = {value: i for i, value in enumerate(column["values"])}
    found = present.map(index)
    if found.isna().any():
        value = present[found.isna().to_numpy()].iloc[0]
        raise BadInput(f"column '{column['name']}' holds '{value}', which the schema has not seen")
    return found.to_numpy(np.int64)


def _decode(column: dict[str, Any], ids: np.ndarray) -> pd.Series:
    values, dtype = column["values"], column["dtype"]
    gaps = (ids == 0) & column["missing"]
    picked = np.clip(ids - column["missing"], 0, max(len(values) - 1, 0))
    if not values:
        return pd.Series([None] * len(ids), dtype=dtype)
    if column["ordered"]:
        series = pd.Series(np.asarray(values)[picked])
        if dtype.startswith("datetime"):
            series = series.astype("int64").astype(dtype)
            return series.mask(gaps)
        return (series.mask(gaps) if gaps.any() else series).astype(dtype)
    series = pd.Series(np.asarray(values, dtype=object)[picked])
    series[gaps] = None
    if dtype == "category":
        return series.astype(pd.CategoricalDtype(values))
    return series.astype(dtype)
