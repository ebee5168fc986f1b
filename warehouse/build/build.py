"""The build step: everything below `built/` that is not there yet.

It is incremental, idempotent, and safe beside a running sweep. Each trial's energy is computed once from the raw
readings and kept; so are the shares of its requests. The statistics of all cells are computed again whenever the set
of trials has changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from joulemark.warehouse.build.cell_statistics import cell_statistics_rows
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.shares import request_energy_rows
from joulemark.warehouse.build.trial_energy import trial_energy_rows
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.connection import connect
from joulemark.warehouse.query.snapshot import Snapshot, take
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import dataset_folder, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

STATISTICS = f"{dataset_folder('cell_statistics')}/all.parquet"
STATISTICS_INPUTS = f"{dataset_folder('cell_statistics')}/inputs.json"


@dataclass(frozen=True)
class BuildReport:
    """What was built, and what could not be read. ``snapshot`` is the warehouse afterwards."""

    energies: int
    shares: int
    statistics: bool
    warnings: tuple[str, ...]
    snapshot: Snapshot


def build(warehouse: Warehouse) -> BuildReport:
    """Build what is missing. Raises DiskFull or WarehouseError where nothing can be written.

    A manifest or Parquet file that cannot be read is named in ``warnings`` and left out.
    """
    snapshot = take(warehouse)
    reader = PowerReader(warehouse, snapshot.files["power"])
    counted = [m for m in snapshot.manifests if m.duplicate_of is None]
    energies = _missing(snapshot, "trial_energy", counted)
    for manifest in energies:
        _write(
            warehouse, "trial_energy", trial_file("trial_energy", manifest.trial), trial_energy_rows(manifest, reader)
        )
    snapshot = _with(snapshot, "trial_energy", energies)
    shares = _missing(snapshot, "request_energy", counted)
    statistics = _statistics_inputs(counted, snapshot)
    fresh = statistics == _last_inputs(warehouse) and STATISTICS in snapshot.files["cell_statistics"]
    if shares or not fresh:
        connection = connect(snapshot)
        try:
            _build_shares(warehouse, connection, shares, reader)
            if not fresh:
                _build_statistics(warehouse, connection, statistics)
        except duckdb.Error as error:
            # A file with a whole footer and broken pages: only reading all of it shows that.
            reader.warnings.append(f"shares and statistics not built: {str(error).splitlines()[0]}")
        finally:
            connection.close()
    warnings = (*snapshot.warnings, *reader.warnings)
    if energies or shares or not fresh:
        snapshot = take(warehouse)
    return BuildReport(len(energies), len(shares), not fresh, warnings, snapshot)


def _missing(snapshot: Snapshot, dataset: str, manifests: Iterable[TrialManifest]) -> list[TrialManifest]:
    there = set(snapshot.files[dataset])
    return [m for m in manifests if trial_file(dataset, m.trial) not in there]


def _with(snapshot: Snapshot, dataset: str, written: list[TrialManifest]) -> Snapshot:
    names = {trial_file(dataset, m.trial) for m in written}
    files = tuple(sorted(names | set(snapshot.files[dataset])))
    skipped = tuple(n for n in snapshot.skipped[dataset] if n not in names)
    return replace(snapshot, files=snapshot.files | {dataset: files}, skipped=snapshot.skipped | {dataset: skipped})


def _write(warehouse: Warehouse, dataset: str, name: str, rows: list[dict[str, Any]]) -> None:
    schema = DATASETS[dataset].arrow
    write_table(warehouse, DATASETS[dataset], name, pa.Table.from_pylist(rows, schema=schema))


def _build_shares(
    warehouse: Warehouse, connection: duckdb.DuckDBPyConnection, manifests: list[TrialManifest], reader: PowerReader
) -> None:
    for manifest, rows in request_energy_rows(connection, manifests, reader):
        _write(warehouse, "request_energy", trial_file("request_energy", manifest.trial), rows)


def _build_statistics(warehouse: Warehouse, connection: duckdb.DuckDBPyConnection, inputs: str) -> None:
    _write(warehouse, "cell_statistics", STATISTICS, cell_statistics_rows(connection))
    warehouse.write(STATISTICS_INPUTS, msgspec.json.encode({"inputs": inputs}))


def _statistics_inputs(manifests: list[TrialManifest], snapshot: Snapshot) -> str:
    """Return a digest of all that the statistics depend on: which trials there are, and with which records."""
    requests = set(snapshot.files["requests"])
    return content_id([[m.trial, m.started_us, trial_file("requests", m.trial) in requests] for m in manifests])


def _last_inputs(warehouse: Warehouse) -> str | None:
    if not warehouse.exists(STATISTICS_INPUTS):
        return None
    try:
        return msgspec.json.decode(warehouse.read(STATISTICS_INPUTS), type=dict[str, str]).get("inputs")
    except (msgspec.MsgspecError, WarehouseError):
        return None
