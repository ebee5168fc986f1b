"""How a dataset is described: its columns, each with a type, a unit in its name and a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

INSTANT = pa.timestamp("us", tz="UTC")
WORD = pa.string()
"""Text of few different values (Parquet stores each once per page)."""

SCHEMA_VERSION_KEY = b"joulemark.schema_version"
DATASET_KEY = b"joulemark.dataset"


@dataclass(frozen=True)
class Column:
    """One column. ``nullable`` says that NULL is a legal reading ("missing", never 0)."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Dataset:
    """One kind of record, its columns in order, and how its files are sorted and encoded."""

    name: str
    row: str
    version: int
    columns: tuple[Column, ...]
    sort_by: tuple[str, ...] = ()
    delta: tuple[str, ...] = ()
    """Columns that grow steadily: written with delta encoding."""
    split: tuple[str, ...] = ()
    """Columns that jitter: written with byte-stream-split encoding."""
    added: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """Columns that came with a later version: files of an earlier one lack them, which reads as NULL."""

    def missing_in(self, version: int) -> frozenset[str]:
        """Return the columns that a file of ``version`` lacks by right."""
        return frozenset(name for since, names in self.added if version < since for name in names)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, with the dataset's name and version in its metadata."""
        fields = [pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns]
        metadata = {DATASET_KEY: self.name.encode(), SCHEMA_VERSION_KEY: str(self.version).encode()}
        return pa.schema(fields, metadata=metadata)

    def numbered(self, number: pa.DataType) -> pa.Schema:
        """Return the same with a number for every word, and each word once: quicker to make and to write."""
        fields = [f.with_type(pa.dictionary(number, WORD)) if f.type == WORD else f for f in self.arrow]
        return pa.schema(fields, metadata=self.arrow.metadata)
