"""Record schemas: what every dataset holds, which words are allowed, how things are named.

Importing this package loads pyarrow and msgspec, and neither DuckDB nor Ray.
"""

from joulemark.warehouse.schema.columns import Column, Dataset
from joulemark.warehouse.schema.datasets import DATASETS

__all__ = ["DATASETS", "Column", "Dataset"]
