"""What is in a warehouse at one moment: readable manifests, sites and Parquet files, and what had to be skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.errors import JoulemarkError, NewerSchema, WarehouseError
from joulemark.warehouse.query.groups import GROUPS, definition, whole_view_file
from joulemark.warehouse.query.known import (
    CATALOGUE,
    FOOTERS,
    FOOTERS_FOLDER,
    MANIFESTS_FOLDER,
    Footer,
    by_name,
    footers,
    footers_table,
    keep_seen,
    read_seen,
    still_there,
)
from joulemark.warehouse.query.sites import Site, read_site, read_slo
from joulemark.warehouse.query.tables import MANIFESTS, manifests_table
from joulemark.warehouse.schema import DATASETS, Dataset
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.batches import BUILT_ROOT, Batch, choose, damaged, read_batches
from joulemark.warehouse.store.layout import KEPT, SWEEPS, TRIALS, dataset_folder, manifest_file
from joulemark.warehouse.store.location import Entry, Warehouse
from joulemark.warehouse.store.manifests import decode
from joulemark.warehouse.store.packs import counting, replaced_names
from joulemark.warehouse.views import WHOLE

READERS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """``files`` are the readable Parquet files that count, by dataset; ``whole`` are datasets of which these are all.

    Names are relative to the warehouse. ``older`` are datasets with files that lack columns, which an earlier version
    wrote. ``table`` has one row per manifest. ``batches`` are what was built, by group; ``left`` what was built and
    does not count any more.
    """

    warehouse: Warehouse
    table: pa.Table
    sites: dict[str, Site]
    slos: dict[str, dict[str, float]]
    """Limits on latency by sweep, in seconds, as stored in ``sweeps/<sweep>/slo.json``."""
    files: dict[str, tuple[str, ...]]
    whole: frozenset[str]
    older: frozenset[str]
    footers: dict[str, Footer]
    written_ns: dict[str, int]
    """When files of records were written."""
    batches: dict[str, tuple[Batch, ...]]
    warnings: tuple[str, ...]
    left: tuple[str, ...] = ()
    news: tuple[tuple[str, pa.Table, pa.Table], ...] = field(default=(), repr=False)

    @cached_property
    def trials(self) -> tuple[str, ...]:
        """The trials that count (no duplicates), in the order of their start."""
        counted = self.table.filter(pc.is_null(self.table["duplicate_of"]))
        return tuple(counted.sort_by([("started_us", "ascending"), ("trial", "ascending")])["trial"].to_pylist())

    @cached_property
    def replaced(self) -> dict[str, str]:
        """The pack that holds it, by name of a file that is in a pack."""
        return {name: pack for pack, footer in self.footers.items() for name in footer.replaces}

    @property
    def whole_view_files(self) -> dict[str, str]:
        """The files of views that are written for all trials at once, for these trials."""
        trials = content_id(sorted(self.trials))
        return {view: whole_view_file(view, trials) for view in WHOLE}

    def covered(self, group: str) -> frozenset[str]:
        """Return the trials for which everything of a group is there."""
        return frozenset(t for b in self.batches.get(group, ()) for t in b.trials)

    def manifest(self, trial: str) -> TrialManifest:
        """Return the manifest of a trial. Raises WarehouseError."""
        name = manifest_file(trial)
        return decode(name, self.warehouse.read(name))

    def has(self, name: str) -> bool:
        """Return whether the records that were written under ``name`` can be read, there or from a pack."""
        return name in self.footers or name in self.replaced

    def with_batch(self, batch: Batch) -> Snapshot:
        """Return the snapshot with a batch that was just written."""
        added = {d: tuple(sorted({*self.files.get(d, ()), batch.file(d)})) for d in batch.sizes}
        groups = self.batches | {batch.group: (*self.batches.get(batch.group, ()), batch)}
        return replace(self, files=self.files | dict.fromkeys(WHOLE, ()) | added, batches=groups)

    def remember(self) -> None:
        """Keep what was seen for the first time, for the next opening. Raises DiskFull or WarehouseError."""
        for folder, seen, new in self.news:
            keep_seen(self.warehouse, folder, seen, new)


def take(warehouse: Warehouse) -> Snapshot:
    """Look at all manifests and at the footer of every Parquet file, except at what was seen before."""
    warnings: list[str] = []
    manifests = _manifests(warehouse, warnings)
    site_files = [n for n in warehouse.list(SWEEPS, "/site.json") if n.count("/") == 2]
    sites = _each(site_files, lambda n: read_site(warehouse, n), warnings)
    slo_files = [n for n in warehouse.list(SWEEPS, "/slo.json") if n.count("/") == 2]
    slos = {n.split("/")[1]: s for n, s in _each(slo_files, lambda n: read_slo(warehouse, n), warnings).items()}
    grouped = {d for datasets in GROUPS.values() for d in datasets}
    raw = {n: by_name(warehouse.entries(dataset_folder(n), ".parquet")) for n in DATASETS if n not in grouped}
    seen, new, known = _footers(warehouse, raw, warnings)
    replaces = {n: f.replaces for n, f in known.items() if f.replaces}
    files = {
        d: tuple(counting((n for n in names if n in known and known[n].version), replaces)) for d, names in raw.items()
    }
    older = {d for d, names in files.items() if any(DATASETS[d].missing_in(known[n].version) for n in names)}
    whole = {d for d, names in files.items() if len(names) == len(raw[d])}
    batches, left = _built(warehouse, slos, warnings)
    for group, datasets in GROUPS.items():
        for dataset in datasets:
            files[dataset] = tuple(sorted(b.file(dataset) for b in batches[group]))
            if any(b.root != BUILT_ROOT for b in batches[group]):
                older.add(dataset)
    found = Snapshot(
        warehouse,
        manifests[1],
        {name.split("/")[1]: site for name, site in sites.items()},
        slos,
        files,
        frozenset(whole),
        frozenset(older),
        {n: f for n, f in known.items() if f.version},
        {n: e.mtime_ns for names in raw.values() for n, e in names.items()},
        batches,
        tuple(warnings),
        left,
        ((FOOTERS_FOLDER, seen, new), (MANIFESTS_FOLDER, *manifests[0])),
    )
    views = {view: (name,) if warehouse.exists(name) else () for view, name in found.whole_view_files.items()}
    return replace(found, files=found.files | views)


def slo_digest(limits: Mapping[str, float] | None) -> str:
    """Return a digest of a sweep's limits on latency, which figures rest on."""
    return content_id(dict(limits or {}))


def without_unreadable(snapshot: Snapshot, datasets: Iterable[str]) -> Snapshot:
    """Return the snapshot without files of these datasets whose pages cannot be read, warned of by name.

    It reads all of them, so it is for when a query has failed.
    """
    warnings = list(snapshot.warnings)
    files, bad = dict(snapshot.files), set()
    for name in datasets:
        good = _each(files[name], lambda n: _read(snapshot.warehouse, n), warnings)
        bad |= set(files[name]) - set(good)
        files[name] = tuple(good)
    touched = {d for d in files if files[d] != snapshot.files[d]}
    kept = {n: f for n, f in snapshot.footers.items() if n not in bad}
    return replace(snapshot, files=files, whole=snapshot.whole - touched, footers=kept, warnings=tuple(warnings))


def _manifests(warehouse: Warehouse, warnings: list[str]) -> tuple[tuple[pa.Table, pa.Table], pa.Table]:
    """Return catalogue rows that still count and new ones, and one row per manifest."""
    entries = by_name(warehouse.entries(TRIALS, ".json"))
    seen = still_there(read_seen(warehouse, MANIFESTS_FOLDER, CATALOGUE), entries)
    fresh = sorted(entries.keys() - set(seen["file"].to_pylist()))
    found = _each(fresh, lambda n: decode(n, warehouse.read(n)), warnings)
    new = manifests_table(found.values())
    facts = [entries[n] for n in found]
    for i, column in enumerate(("name", "size", "mtime_ns")):
        new = new.add_column(
            i, CATALOGUE.field(i), pa.array([getattr(e, column) for e in facts], CATALOGUE.field(i).type)
        )
    table = pa.concat_tables([seen, new]).select(MANIFESTS.names)
    return (seen, new), table


def _footers(
    warehouse: Warehouse, raw: Mapping[str, Mapping[str, Entry]], warnings: list[str]
) -> tuple[pa.Table, pa.Table, dict[str, Footer]]:
    """Return rows of footers that were seen before and still count, new rows, and what all footers say by file."""
    entries = {name: e for names in raw.values() for name, e in names.items()}
    seen = still_there(read_seen(warehouse, FOOTERS_FOLDER, FOOTERS), entries)
    known = footers(seen)
    fresh: dict[str, Footer] = {}
    for dataset, names in raw.items():
        unknown = [n for n in names if n not in known]
        fresh |= _each(unknown, lambda n, d=DATASETS[dataset]: _footer(warehouse, d, n), warnings)  # type: ignore[misc]
    return seen, footers_table(fresh, entries), known | fresh


def _built(
    warehouse: Warehouse, slos: Mapping[str, dict[str, float]], warnings: list[str]
) -> tuple[dict[str, tuple[Batch, ...]], tuple[str, ...]]:
    """Return the batches that count by group, and the built files that do not."""
    digests = {f"slo {sweep}": slo_digest(limits) for sweep, limits in slos.items()}
    chosen, of_use = {}, set()
    listed: dict[str, Entry] = {}
    records: set[str] = set()
    for group, datasets in GROUPS.items():
        files = by_name(
            e for root in (BUILT_ROOT, KEPT) for d in datasets for e in warehouse.entries(f"{root}/{d}", ".parquet")
        )
        batches = [
            b
            for b in read_batches(warehouse, BUILT_ROOT, group)
            if b.definition == definition(group)
            and all(digests.get(k, slo_digest(None)) == v for k, v in b.inputs.items())
        ]
        batches += read_batches(warehouse, KEPT, group)
        warnings += [f"skipped {n}: not as long as it was when it was written" for n in damaged(batches, files)]
        chosen[group] = tuple(choose(batches, files))
        listed |= files
        records |= set(warehouse.list(f"{BUILT_ROOT}/batches/{group}", ".json"))
        of_use |= {name for b in chosen[group] for name in (b.record, *map(b.file, b.sizes))}
    left = sorted(n for n in (*listed, *records) if n not in of_use and n.startswith(f"{BUILT_ROOT}/"))
    return chosen, tuple(left)


def _read(warehouse: Warehouse, name: str) -> bool:
    try:
        pq.read_table(warehouse.path(name), filesystem=warehouse.filesystem)
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{name}: cannot be read: {str(error).splitlines()[0]}") from error
    return True


def _each(names: Iterable[str], look: Callable[[str], T], warnings: list[str]) -> dict[str, T]:
    """Return what ``look`` finds under each name; a name that it cannot read is warned of and left out."""

    def one(name: str) -> T | str:
        try:
            return look(name)
        except JoulemarkError as error:
            return f"skipped {error}"

    names = list(names)
    with ThreadPoolExecutor(READERS) as pool:
        seen = dict(zip(names, pool.map(one, names), strict=True))
    warnings += [v for v in seen.values() if isinstance(v, str)]
    return {n: v for n, v in seen.items() if not isinstance(v, str)}


def _footer(warehouse: Warehouse, dataset: Dataset, name: str) -> Footer:
    """Return what a file's footer says.

    Raises WarehouseError or NewerSchema where this version cannot read the file. What an older version built has
    version 0: it is of no use, and built again.
    """
    try:
        with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
            metadata = pq.read_metadata(source)
            schema = metadata.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{name}: not a whole Parquet file: {str(error).splitlines()[0]}") from error
    version = int((schema.metadata or {}).get(SCHEMA_VERSION_KEY, b"1"))
    if version > dataset.version:
        raise NewerSchema(
            f"{name}: written by a newer joulemark (schema {version}, this one knows {dataset.version}); "
            "upgrade joulemark to see it"
        )
    if version < dataset.version and dataset_folder(dataset.name).startswith(BUILT_ROOT):
        return Footer(0)
    missing = [
        c.name for c in dataset.columns if c.name not in schema.names and c.name not in dataset.missing_in(version)
    ]
    if missing:
        raise WarehouseError(f"{name}: it has no column {', '.join(missing)}")
    return Footer(version, *_span(metadata, schema), replaced_names(schema.metadata))


def _span(metadata: pq.FileMetaData, schema: pa.Schema) -> tuple[int | None, int | None]:
    """Return first and last instant of the column `t` in us; None where there is none or the footer does not say."""
    index = schema.get_field_index("t")
    groups = (
        [] if index < 0 else [metadata.row_group(i).column(index).statistics for i in range(metadata.num_row_groups)]
    )
    if not groups or not all(s is not None and s.has_min_max for s in groups):
        return None, None
    return min(s.min_raw for s in groups), max(s.max_raw for s in groups)
