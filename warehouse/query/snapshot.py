"""What is in a warehouse at one moment: readable manifests, sites and Parquet files, and what had to be skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.warehouse.errors import JoulemarkError, NewerSchema, WarehouseError
from joulemark.warehouse.schema import DATASETS, Dataset
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import BUILT, SWEEPS, TRIALS, dataset_folder
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import decode

READERS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Prices of the place where a sweep ran, as stored in ``sweeps/<sweep>/site.json``. None: not known.

    ``gpu_hour`` is the price of a GPU for an hour, or of a node where the sweep ran on the CPU.
    """

    gpu_hour: float | None = None
    electricity_per_kwh: float | None = None
    pue: float | None = None
    includes_power: bool | None = None
    currency: str | None = None
    as_of: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """``files`` are readable Parquet files by dataset, ``skipped`` those that are not, names below the warehouse.

    ``older`` are datasets with files that lack columns, which an earlier version wrote.
    """

    warehouse: Warehouse
    manifests: tuple[TrialManifest, ...]
    sites: dict[str, Site]
    files: dict[str, tuple[str, ...]]
    skipped: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...]
    slos: dict[str, dict[str, float]] = field(default_factory=dict)
    """Limits on latency by sweep, in seconds, as stored in ``sweeps/<sweep>/slo.json``."""
    older: frozenset[str] = frozenset()


def take(warehouse: Warehouse) -> Snapshot:
    """Look at all manifests and at the footer of every Parquet file."""
    warnings: list[str] = []
    manifests = _each(warehouse.list(TRIALS, ".json"), lambda n: decode(n, warehouse.read(n)), warnings)
    site_files = [n for n in warehouse.list(SWEEPS, "/site.json") if n.count("/") == 2]
    sites = _each(site_files, lambda n: _site(warehouse, n), warnings)
    slo_files = [n for n in warehouse.list(SWEEPS, "/slo.json") if n.count("/") == 2]
    slos = _each(slo_files, lambda n: _slo(warehouse, n), warnings)
    files, skipped, older = {}, {}, set()
    for name, dataset in DATASETS.items():
        found = warehouse.list(dataset_folder(name), ".parquet")
        good = _each(found, lambda n, d=dataset: _version(warehouse, d, n), warnings)  # type: ignore[misc]
        files[name] = tuple(n for n, version in good.items() if version)
        skipped[name] = tuple(n for n in found if not good.get(n))
        if any(v and dataset.missing_in(v) for v in good.values()):
            older.add(name)
    return Snapshot(
        warehouse,
        tuple(manifests.values()),
        {name.split("/")[1]: site for name, site in sites.items()},
        files,
        skipped,
        tuple(warnings),
        {name.split("/")[1]: slo for name, slo in slos.items()},
        frozenset(older),
    )


def without_unreadable(snapshot: Snapshot, datasets: Iterable[str]) -> Snapshot:
    """Return the snapshot without files of these datasets whose pages cannot be read, warned of by name.

    It reads all of them, so it is for when a query has failed.
    """
    warnings = list(snapshot.warnings)
    files, skipped = dict(snapshot.files), dict(snapshot.skipped)
    for name in datasets:
        good = _each(files[name], lambda n: _read(snapshot.warehouse, n), warnings)
        skipped[name] = (*skipped[name], *(n for n in files[name] if n not in good))
        files[name] = tuple(good)
    return replace(snapshot, files=files, skipped=skipped, warnings=tuple(warnings))


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


def _site(warehouse: Warehouse, name: str) -> Site:
    try:
        return msgspec.json.decode(warehouse.read(name), type=Site)
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a site record: {error}") from error


def _slo(warehouse: Warehouse, name: str) -> dict[str, float]:
    try:
        return msgspec.json.decode(warehouse.read(name), type=dict[str, float])
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a record of latency limits: {error}") from error


def _version(warehouse: Warehouse, dataset: Dataset, name: str) -> int:
    """Return the version of a file, 0 where it is of no use.

    Raises WarehouseError or NewerSchema where this version cannot read it. What an older version built is of no use:
    it is built again.
    """
    try:
        with warehouse.filesystem.open_input_file(warehouse.path(name)) as source:
            schema = pq.read_schema(source)
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(f"{name}: not a whole Parquet file: {str(error).splitlines()[0]}") from error
    version = int((schema.metadata or {}).get(SCHEMA_VERSION_KEY, b"1"))
    if version > dataset.version:
        raise NewerSchema(
            f"{name}: written by a newer joulemark (schema {version}, this one knows {dataset.version}); "
            "upgrade joulemark to see it"
        )
    if version < dataset.version and dataset.name in BUILT:
        return 0
    missing = [
        c.name for c in dataset.columns if c.name not in schema.names and c.name not in dataset.missing_in(version)
    ]
    if missing:
        raise WarehouseError(f"{name}: it has no column {', '.join(missing)}")
    return version
