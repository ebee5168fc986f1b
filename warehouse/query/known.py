"""What was seen before: footers of Parquet files and manifests, by name, size and time, kept as Parquet below `built/`.

Opening a warehouse then lists its files, and looks only into those that are new. All of it can be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.query.tables import MANIFESTS
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.store.location import Entry, Warehouse

FOOTERS_FOLDER, MANIFESTS_FOLDER = "built/known", "built/manifests"
WORTH_KEEPING = 64
"""With fewer new files than this, looking again is cheaper than keeping what was seen."""
FILES_AT_MOST = 16
"""More files of seen things than this are written again as one."""

ENTRY = [("file", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
FOOTERS = pa.schema(
    [
        *ENTRY,
        ("version", pa.int32()),
        ("first_us", pa.int64()),
        ("last_us", pa.int64()),
        ("replaces", pa.list_(pa.string())),
    ]
)
CATALOGUE = pa.schema([*ENTRY, *MANIFESTS])


@dataclass(frozen=True)
class Footer:
    """What a Parquet footer says: version, first and last instant of `t` [us] where it tells, files it took in."""

    version: int
    first_us: int | None = None
    last_us: int | None = None
    replaces: tuple[str, ...] = ()


def read_seen(warehouse: Warehouse, folder: str, schema: pa.Schema) -> pa.Table:
    """Return all rows that were kept below ``folder``; a file that does not fit is left out, it is made again."""
    tables = []
    for name in warehouse.list(folder, ".parquet"):
        try:
            table = pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem)
        except (OSError, pa.ArrowException):
            continue
        if table.schema.equals(schema):
            tables.append(table)
    return pa.concat_tables(tables) if tables else schema.empty_table()


def still_there(seen: pa.Table, entries: Mapping[str, Entry]) -> pa.Table:
    """Return the rows whose file is listed with the same size and time, one row per file."""
    mask = []
    taken: set[str] = set()
    columns = (seen[c].to_pylist() for c in ("file", "size", "mtime_ns"))
    for file, size, mtime_ns in zip(*columns, strict=True):
        entry = entries.get(file)
        same = entry is not None and (entry.size, entry.mtime_ns) == (size, mtime_ns) and file not in taken
        mask.append(same)
        if same:
            taken.add(file)
    return seen.filter(pa.array(mask, pa.bool_()))


def footers(seen: pa.Table) -> dict[str, Footer]:
    """Return what is known of each file."""
    columns = (seen[c].to_pylist() for c in ("file", "version", "first_us", "last_us", "replaces"))
    return {
        file: Footer(version, first, last, tuple(replaces or ()))
        for file, version, first, last, replaces in zip(*columns, strict=True)
    }


def footers_table(found: Mapping[str, Footer], entries: Mapping[str, Entry]) -> pa.Table:
    """Return rows to keep."""
    rows = [
        {
            "file": name,
            "size": entries[name].size,
            "mtime_ns": entries[name].mtime_ns,
            "version": footer.version,
            "first_us": footer.first_us,
            "last_us": footer.last_us,
            "replaces": list(footer.replaces),
        }
        for name, footer in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=FOOTERS)


def keep_seen(warehouse: Warehouse, folder: str, seen: pa.Table, new: pa.Table) -> None:
    """Keep what was looked at, where that is worth it; where there are many small files, all as one.

    ``seen`` are the rows that were kept before and still count. Raises DiskFull or WarehouseError.
    """
    old = warehouse.list(folder, ".parquet")
    if new.num_rows >= WORTH_KEEPING:
        _write(warehouse, folder, new)
    elif len(old) <= FILES_AT_MOST:
        return
    if len(old) > FILES_AT_MOST:
        _write(warehouse, folder, pa.concat_tables([seen, new]))
        for name in old:
            warehouse.delete(name)


def _write(warehouse: Warehouse, folder: str, table: pa.Table) -> None:
    table = table.sort_by("file")
    name = content_id([table["file"].to_pylist(), pc.sum(table["mtime_ns"]).as_py()])
    with warehouse.writing(f"{folder}/{name}.parquet") as stream:
        pq.write_table(table, stream, compression="zstd")


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the entries by their names."""
    return {e.name: e for e in entries}
