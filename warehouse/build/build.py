"""The build step: everything below `built/` that is not there yet.

It is incremental, idempotent, and safe beside a running sweep. Each trial's energy is computed once from the raw
readings and kept; so are the shares of its requests. The statistics of all cells are computed again whenever the set
of trials has changed. What an older version built counts as not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from joulemark.warehouse.build.cell_statistics import statistics_rows
from joulemark.warehouse.build.clocks import Clocks
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.shares import request_energy_rows
from joulemark.warehouse.build.trial_energy import trial_energy_rows
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.connection import connect
from joulemark.warehouse.query.snapshot import Snapshot, take, without_unreadable
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import dataset_folder, trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

STATISTICS = ("cell_statistics", "lever_effects", "node_differences", "sweep_drift")
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
    if not snapshot.manifests:
        # Perhaps no warehouse at all, but a folder that was named by mistake: nothing is put there.
        return BuildReport(0, 0, statistics=False, warnings=snapshot.warnings, snapshot=snapshot)
    reader = PowerReader(warehouse, snapshot.files["power"])
    clocks = Clocks.read(warehouse, snapshot.files["clocks"])
    counted = [m for m in snapshot.manifests if m.duplicate_of is None]
    energies = _missing(snapshot, "trial_energy", counted)
    for manifest in energies:
        rows = trial_energy_rows(manifest, reader, clocks)
        _write(warehouse, "trial_energy", trial_file("trial_energy", manifest.trial), rows)
    snapshot = _with(snapshot, "trial_energy", [trial_file("trial_energy", m.trial) for m in energies])
    # Shares are those of the figures: new figures, new shares.
    renewed = {m.trial for m in energies}
    without = {m.trial for m in _missing(snapshot, "request_energy", counted)}
    shares = [m for m in counted if m.trial in renewed | without]
    try:
        snapshot, statistics = _derive(snapshot, shares, reader)
    except duckdb.Error:
        # A file with a whole footer and broken pages: only reading all of it shows that.
        snapshot = without_unreadable(snapshot, ("requests", "trial_energy", "device_state"))
        snapshot, statistics = _derive(snapshot, shares, reader)
    snapshot = replace(snapshot, warnings=(*snapshot.warnings, *reader.warnings, *clocks.warnings))
    return BuildReport(len(energies), len(shares), statistics, snapshot.warnings, snapshot)


def _missing(snapshot: Snapshot, dataset: str, manifests: Iterable[TrialManifest]) -> list[TrialManifest]:
    there = set(snapshot.files[dataset])
    return [m for m in manifests if trial_file(dataset, m.trial) not in there]


def _with(snapshot: Snapshot, dataset: str, written: list[str]) -> Snapshot:
    """Return the snapshot with files that were just written."""
    files = tuple(sorted({*written, *snapshot.files[dataset]}))
    skipped = tuple(n for n in snapshot.skipped[dataset] if n not in written)
    return replace(snapshot, files=snapshot.files | {dataset: files}, skipped=snapshot.skipped | {dataset: skipped})


def _write(warehouse: Warehouse, dataset: str, name: str, rows: list[dict[str, Any]]) -> None:
    schema = DATASETS[dataset].arrow
    write_table(warehouse, DATASETS[dataset], name, pa.Table.from_pylist(rows, schema=schema))


def _derive(snapshot: Snapshot, shares: list[TrialManifest], reader: PowerReader) -> tuple[Snapshot, bool]:
    """Write what is computed from the views; return the new snapshot, and whether statistics were computed.

    Raises duckdb.Error where a file cannot be read.
    """
    warehouse = snapshot.warehouse
    inputs = _statistics_inputs(snapshot)
    fresh = inputs == _last_inputs(warehouse) and all(_whole(d) in snapshot.files[d] for d in STATISTICS)
    if fresh and not shares:
        return snapshot, False
    written = []
    connection = connect(snapshot)
    try:
        for manifest, rows in request_energy_rows(connection, shares, reader):
            written.append(trial_file("request_energy", manifest.trial))
            _write(warehouse, "request_energy", written[-1], rows)
        if not fresh:
            for dataset, found in statistics_rows(connection).items():
                _write(warehouse, dataset, _whole(dataset), found)
            warehouse.write(STATISTICS_INPUTS, msgspec.json.encode({"inputs": inputs}))
    finally:
        connection.close()
    snapshot = _with(snapshot, "request_energy", written)
    if not fresh:
        for dataset in STATISTICS:
            snapshot = _with(snapshot, dataset, [_whole(dataset)])
    return snapshot, not fresh


def _whole(dataset: str) -> str:
    """Return the file of a dataset that is written as a whole."""
    return f"{dataset_folder(dataset)}/all.parquet"


def _statistics_inputs(snapshot: Snapshot) -> str:
    """Return a digest of all that the statistics depend on: which trials there are, and with which records."""
    trials = [[m.trial, m.started_us] for m in snapshot.manifests if m.duplicate_of is None]
    version = DATASETS["trial_energy"].version
    files = (snapshot.files[d] for d in ("requests", "trial_energy", "device_state"))
    return content_id([trials, *files, version])


def _last_inputs(warehouse: Warehouse) -> str | None:
    if not warehouse.exists(STATISTICS_INPUTS):
        return None
    try:
        return msgspec.json.decode(warehouse.read(STATISTICS_INPUTS), type=dict[str, str]).get("inputs")
    except (msgspec.MsgspecError, WarehouseError):
        return None
