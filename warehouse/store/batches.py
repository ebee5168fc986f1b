"""What the build step writes, in batches of trials: some Parquet files, and a record of which trials they hold.

A batch exists when its record does. Of batches that hold the same trial one counts, and readers agree on which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.store.location import Entry, Warehouse

BUILT_ROOT = "built"


@dataclass(frozen=True)
class Batch:
    """One batch. ``sizes`` are bytes by dataset; ``definition`` names the code that computed it.

    ``lacking`` are records that its trials have and that could not be read then, by trial; ``inputs`` digests of what
    else it rests on. ``root`` is ``built``, or ``kept`` for figures that cannot be computed again.
    """

    batch: str
    group: str
    definition: str
    trials: tuple[str, ...]
    sizes: dict[str, int]
    lacking: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    root: str = BUILT_ROOT
    written_ns: int = 0
    """When its record was written; known of one that was read."""

    def file(self, dataset: str) -> str:
        """Return the name of its file of a dataset."""
        return f"{self.root}/{dataset}/{self.batch}.parquet"

    @property
    def record(self) -> str:
        """The name of its record."""
        return f"{self.root}/batches/{self.group}/{self.batch}.json"


def write_batch(
    warehouse: Warehouse,
    group: str,
    definition: str,
    trials: Iterable[str],
    tables: Mapping[str, pa.Table],
    *,
    lacking: Mapping[str, tuple[str, ...]] | None = None,
    inputs: Mapping[str, str] | None = None,
    root: str = BUILT_ROOT,
) -> Batch:
    """Write the tables, one per dataset of the group, then the record. Raises DiskFull or WarehouseError."""
    names = tuple(sorted(trials))
    name = content_id([names, definition, dict(lacking or {})])
    sizes = {}
    for dataset, table in tables.items():
        file = f"{root}/{dataset}/{name}.parquet"
        with warehouse.writing(file) as stream:
            _write(table, stream)
            sizes[dataset] = stream.tell()
    batch = Batch(name, group, definition, names, sizes, dict(lacking or {}), dict(inputs or {}), root)
    warehouse.write(batch.record, msgspec.json.encode(batch))
    return batch


def _write(table: pa.Table, stream: Any) -> None:
    """Write a table; numbers for its words are written as such, and read as the words."""
    numbered = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
    # The table's own schema would have them read as numbers again.
    how = {"use_dictionary": numbered, "store_schema": False} if numbered else {}
    with pq.ParquetWriter(stream, table.schema, compression="zstd", write_page_index=True, **how) as writer:
        writer.write_table(table)
        if numbered:
            writer.add_key_value_metadata(table.schema.metadata or {})


def read_batches(warehouse: Warehouse, root: str, group: str) -> list[Batch]:
    """Return the records of a group; what is no record is left out: the build step makes it again."""
    found = []
    for entry in warehouse.entries(f"{root}/batches/{group}", ".json"):
        try:
            batch = msgspec.json.decode(warehouse.read(entry.name), type=Batch)
            found.append(replace(batch, written_ns=entry.mtime_ns))
        except (msgspec.MsgspecError, WarehouseError):
            continue
    return found


def choose(batches: Iterable[Batch], entries: Mapping[str, Entry]) -> list[Batch]:
    """Return the batches that count: whole ones that share no trial, kept ones first, then by number of trials."""
    chosen: list[Batch] = []
    covered: set[str] = set()
    for batch in sorted(batches, key=lambda b: (b.root == BUILT_ROOT, -len(b.trials), b.batch)):
        whole = all(
            (entry := entries.get(batch.file(dataset))) is not None and entry.size == size
            for dataset, size in batch.sizes.items()
        )
        if whole and covered.isdisjoint(batch.trials):
            covered.update(batch.trials)
            chosen.append(batch)
    return chosen


def damaged(batches: Iterable[Batch], entries: Mapping[str, Entry]) -> list[str]:
    """Return the files of these batches that are there, and not of the size that they were written with."""
    files = ((batch.file(dataset), size) for batch in batches for dataset, size in batch.sizes.items())
    return [name for name, size in files if name in entries and entries[name].size != size]
