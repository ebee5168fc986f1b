"""Answers as frames of other libraries, which are only needed by those who use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from joulemark.warehouse.errors import MissingTool

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a pandas frame; integers that may be missing stay integers. Raises MissingTool without pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingTool(
            "pandas is not installed: pip install 'joulemark[pandas]', or use .sql() for Arrow"
        ) from error
    nullable = {
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    return table.to_pandas(types_mapper=nullable.get)


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return a polars frame. Raises MissingTool without polars."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingTool(
            "polars is not installed: pip install 'joulemark[polars]', or use .sql() for Arrow"
        ) from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
