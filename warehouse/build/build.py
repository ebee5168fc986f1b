"""The build step: everything below `built/` that is not there yet.

It is incremental, idempotent, and safe beside a running sweep and other builds. Each trial's energy is computed once
from the raw readings and kept; so are its figures and the shares of its requests, in batches of trials. The statistics
of all cells are computed again whenever the set of trials has changed. What other code computed counts as not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.build.cell_statistics import statistics_rows
from joulemark.warehouse.build.clocks import Clocks
from joulemark.warehouse.build.figures import figure_tables, typed
from joulemark.warehouse.build.merge import WRITING_S, merge, sweep_out, without
from joulemark.warehouse.build.meter_updates import MeterUpdates
from joulemark.warehouse.build.part import part
from joulemark.warehouse.build.phase_estimates import phase_rows
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.renewal import renewed_trials
from joulemark.warehouse.build.shares import request_energy_table
from joulemark.warehouse.build.trial_energy import trial_energy_rows
from joulemark.warehouse.build.trial_windows import trial_windows
from joulemark.warehouse.build.window_table import window_variation_table
from joulemark.warehouse.errors import Vanished, WarehouseError
from joulemark.warehouse.query.connection import connect
from joulemark.warehouse.query.groups import ENERGY, FIGURES, GROUPS, PHASES, SHARES, WINDOWS, definition
from joulemark.warehouse.query.snapshot import Snapshot, slo_digest, take, without_unreadable
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.batches import BUILT_ROOT, write_batch
from joulemark.warehouse.store.layout import dataset_folder
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table
from joulemark.warehouse.views import WHOLE

STATISTICS = ("cell_statistics", "lever_effects", "node_differences", "sweep_drift")
STATISTICS_INPUTS = f"{dataset_folder('cell_statistics')}/inputs.json"
AT_ONCE = 1000
"""Trials in one batch at most."""
TRIES = 5
"""How often a build begins again because files were compacted under its hands."""


@dataclass(frozen=True)
class BuildReport:
    """For how many trials what was built, and what could not be read.

    ``snapshot`` is the warehouse afterwards; of a build of some trials only, no more than those.
    """

    energies: int
    shares: int
    statistics: bool
    warnings: tuple[str, ...]
    snapshot: Snapshot


def build(
    warehouse: Warehouse, *, only: Collection[str] | None = None, groups: Collection[str] = tuple(GROUPS)
) -> BuildReport:
    """Build what is missing; with ``only`` just what these trials need, with ``groups`` just these: no statistics then.

    A manifest or Parquet file that cannot be read is named in ``warnings`` and left out. Raises DiskFull or
    WarehouseError where nothing can be written.
    """
    for left in reversed(range(TRIES)):
        try:
            return _build(warehouse, only, groups)
        except Vanished:
            if not left:
                raise
    raise AssertionError


def _build(warehouse: Warehouse, only: Collection[str] | None, groups: Collection[str]) -> BuildReport:
    snapshot = take(warehouse)
    if not snapshot.trials:
        # Perhaps no warehouse at all, but a folder that was named by mistake: nothing is put there.
        return BuildReport(0, 0, statistics=False, warnings=snapshot.warnings, snapshot=snapshot)
    snapshot.remember()
    wanted = [t for t in snapshot.trials if only is None or t in only]
    snapshot = without(snapshot, renewed_trials(snapshot, set(wanted)))
    reader = PowerReader(warehouse, snapshot.files["power"], spans(snapshot, "power"))
    clocks = Clocks(warehouse, snapshot.files["clocks"])
    missing = {g: _missing(snapshot, g, wanted) if g in groups else [] for g in GROUPS}
    updates = MeterUpdates.read(warehouse, snapshot.files["nodes"] if missing[ENERGY] else ())
    snapshot = _energies(snapshot, missing[ENERGY], reader, clocks, updates)
    steps = {FIGURES: _figures} | {g: partial(s, reader=reader) for g, s in FROM_READINGS.items()}
    for group, step in steps.items():
        for trials in _batches(missing[group]):
            snapshot = _derived(snapshot, trials, step)
    whole = only is None and set(groups) == set(GROUPS)
    statistics = _statistics(snapshot, changed=bool(missing[FIGURES])) if whole else None
    snapshot = statistics or snapshot
    if whole:
        snapshot = merge(snapshot)
        sweep_out(snapshot)
    elif only is not None and wanted:
        snapshot = part(snapshot, [snapshot.manifest(t) for t in wanted])
    warnings = (*snapshot.warnings, *reader.warnings, *clocks.warnings, *updates.warnings)
    snapshot = replace(snapshot, warnings=warnings)
    return BuildReport(len(missing[ENERGY]), len(missing[SHARES]), statistics is not None, warnings, snapshot)


def spans(snapshot: Snapshot, dataset: str) -> dict[str, tuple[int, int]]:
    """Return first and last instant [us] of the files of a dataset whose footers tell them."""
    found = ((n, snapshot.footers[n]) for n in snapshot.files[dataset])
    return {n: (f.first_us, f.last_us) for n, f in found if f.first_us is not None and f.last_us is not None}


def _missing(snapshot: Snapshot, group: str, trials: Iterable[str]) -> list[str]:
    """Return the trials without rows of the group, node by node: neighbours rest on the same files."""
    there = snapshot.covered(group)
    missing = [t for t in trials if t not in there]
    mask = pc.is_in(snapshot.table["trial"], pa.array(missing, pa.string()))
    rows = snapshot.table.select(["trial", "nodes"]).filter(mask).to_pylist()
    place = {row["trial"]: min((n["node"] for n in row["nodes"]), default="") for row in rows}
    return sorted(missing, key=place.__getitem__)


def _batches(trials: Iterable[str]) -> Iterator[list[str]]:
    waiting = list(trials)
    for i in range(0, len(waiting), AT_ONCE):
        yield waiting[i : i + AT_ONCE]


def _energies(
    snapshot: Snapshot, trials: list[str], reader: PowerReader, clocks: Clocks, updates: MeterUpdates
) -> Snapshot:
    schema = DATASETS[ENERGY].arrow
    for names in _batches(trials):
        manifests = [snapshot.manifest(t) for t in names]
        rows = [row for m in manifests for row in trial_energy_rows(m, reader, clocks, updates)]
        table = pa.Table.from_pylist(rows, schema=schema)
        snapshot = _write(snapshot, ENERGY, manifests, {ENERGY: table})
    return snapshot


def _derived(
    snapshot: Snapshot, trials: list[str], step: Callable[[Snapshot, list[TrialManifest]], Snapshot]
) -> Snapshot:
    """Write what is computed from the views for these trials."""
    manifests = [snapshot.manifest(t) for t in trials]
    try:
        return step(snapshot, manifests)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        _raise_where_gone(snapshot, error)
        # A file with a whole footer and broken pages: only reading all of it shows that.
        seen = part(snapshot, manifests)
        read = without_unreadable(seen, [d for d in seen.files if d in DATASETS])
        bad = {n for d in seen.files for n in set(seen.files[d]) - set(read.files[d])}
        if not bad:
            raise
        files = {d: tuple(n for n in names if n not in bad) for d, names in snapshot.files.items()}
        footers = {n: f for n, f in snapshot.footers.items() if n not in bad}
        snapshot = replace(snapshot, files=files, footers=footers, whole=frozenset(), warnings=read.warnings)
        return step(snapshot, manifests)


def _figures(snapshot: Snapshot, manifests: list[TrialManifest]) -> Snapshot:
    with figure_tables(part(snapshot, manifests)) as made:
        return _write(snapshot, FIGURES, manifests, made.tables([m.trial for m in manifests]))


def _shares(snapshot: Snapshot, manifests: list[TrialManifest], reader: PowerReader) -> Snapshot:
    table = request_energy_table(part(snapshot, manifests), manifests, reader)
    return _write(snapshot, SHARES, manifests, {SHARES: table})


def _phases(snapshot: Snapshot, manifests: list[TrialManifest], reader: PowerReader) -> Snapshot:
    mine = part(snapshot, manifests)
    with closing(connect(mine)) as connection:
        windows = trial_windows(connection, mine, manifests, reader)
        rows = [row for batch in windows for row in phase_rows(connection, batch)]
    table = pa.Table.from_pylist(rows, schema=DATASETS[PHASES].arrow)
    return _write(snapshot, PHASES, manifests, {PHASES: table})


def _windows(snapshot: Snapshot, manifests: list[TrialManifest], reader: PowerReader) -> Snapshot:
    table = window_variation_table(part(snapshot, manifests), manifests, reader)
    return _write(snapshot, WINDOWS, manifests, {WINDOWS: table})


FROM_READINGS = {SHARES: _shares, PHASES: _phases, WINDOWS: _windows}
"""Steps that look at readings again, after the figures that they rest on."""


def _write(snapshot: Snapshot, group: str, manifests: list[TrialManifest], tables: dict[str, pa.Table]) -> Snapshot:
    """Write a batch, noting which of its trials' records could not be read."""
    lacking = {m.trial: tuple(t.path for t in m.traces if not snapshot.has(t.path)) for m in manifests}
    sweeps = {m.sweep for m in manifests} if group == FIGURES else set()
    batch = write_batch(
        snapshot.warehouse,
        group,
        definition(group),
        [m.trial for m in manifests],
        tables,
        lacking={t: names for t, names in lacking.items() if names},
        inputs={f"slo {s}": slo_digest(snapshot.slos.get(s)) for s in sorted(sweeps)},
    )
    return snapshot.with_batch(batch)


def _raise_where_gone(snapshot: Snapshot, error: Exception) -> None:
    """Raise Vanished where a file that was there is not any more."""
    if any(not snapshot.warehouse.exists(n) for d in DATASETS for n in snapshot.files[d]):
        raise Vanished(f"records were moved while they were read: {error}") from error


def _statistics(snapshot: Snapshot, *, changed: bool) -> Snapshot | None:
    """Write the statistics of all cells and the views over all trials, unless they are there for the same trials."""
    warehouse = snapshot.warehouse
    datasets = {d: DATASETS[d] for d in STATISTICS}
    inputs = content_id([sorted(snapshot.trials), definition(FIGURES), [d.version for d in datasets.values()]])
    there = all(snapshot.files[d] == (whole_file(d),) for d in STATISTICS) and all(snapshot.files[v] for v in WHOLE)
    if not changed and there and inputs == _last_inputs(warehouse):
        return None
    snapshot = replace(snapshot, files=snapshot.files | dict.fromkeys(WHOLE, ()))
    with closing(connect(snapshot)) as connection:
        rows = statistics_rows(connection)
        views = {v: typed(connection.sql(f"FROM {v} ORDER BY ALL")) for v in WHOLE}
    for name, dataset in datasets.items():
        write_table(warehouse, dataset, whole_file(name), pa.Table.from_pylist(rows[name], schema=dataset.arrow))
    names = snapshot.whole_view_files
    for view, table in views.items():
        with warehouse.writing(names[view]) as stream:
            pq.write_table(table, stream, compression="zstd")
    _forget(warehouse, set(names.values()))
    warehouse.write(STATISTICS_INPUTS, msgspec.json.encode({"inputs": inputs}))
    written = {d: (whole_file(d),) for d in STATISTICS} | {v: (n,) for v, n in names.items()}
    return replace(snapshot, files=snapshot.files | written)


def _forget(warehouse: Warehouse, names: Collection[str]) -> None:
    """Delete rows of views over other sets of trials, once nobody can be about to read them."""
    before_ns = (time.time() - WRITING_S) * 1e9
    for entry in (e for view in WHOLE for e in warehouse.entries(f"{BUILT_ROOT}/{view}", ".parquet")):
        if entry.name not in names and entry.mtime_ns < before_ns:
            warehouse.delete(entry.name)


def whole_file(dataset: str) -> str:
    """Return the file of a dataset that is written as a whole."""
    return f"{dataset_folder(dataset)}/all.parquet"


def _last_inputs(warehouse: Warehouse) -> str | None:
    if not warehouse.exists(STATISTICS_INPUTS):
        return None
    try:
        return msgspec.json.decode(warehouse.read(STATISTICS_INPUTS), type=dict[str, str]).get("inputs")
    except (msgspec.MsgspecError, WarehouseError):
        return None
