"""The verdict on trials that were just committed, without a look at the rest of the warehouse.

It asks the view `trial_results` itself, over tables that hold the records of these trials only. Nothing is written:
figures are built, for many trials at once, when somebody asks for them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.warehouse.build.build import build
from joulemark.warehouse.build.clocks import Clocks
from joulemark.warehouse.build.meter_updates import MeterUpdates
from joulemark.warehouse.build.readings import MARGIN_US, PowerReader
from joulemark.warehouse.build.trial_energy import trial_energy_rows
from joulemark.warehouse.errors import JoulemarkError
from joulemark.warehouse.query.connection import define_empty
from joulemark.warehouse.query.open import open_snapshot
from joulemark.warehouse.query.tables import manifests_table
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import Trace, TrialManifest
from joulemark.warehouse.store.layout import dataset_folder, segment_file
from joulemark.warehouse.store.location import Warehouse

READ = ("requests", "device_state")
"""Datasets of which a verdict needs rows beside the readings of power."""
_REASONS = "SELECT trial, arg_min(reasons, len(reasons)) AS reasons FROM trial_results GROUP BY trial"


@dataclass
class Judge:
    """One connection for all verdicts of a run. Not to be called from two threads at a time."""

    warehouse: Warehouse
    _connection: duckdb.DuckDBPyConnection = field(default_factory=lambda: duckdb.connect(":memory:"))
    _recent: defaultdict[str, deque[Trace]] = field(default_factory=lambda: defaultdict(deque))
    """By node: the latest segments of power, whose readings may bracket a window."""
    _meters: dict[tuple[str, ...], MeterUpdates] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    """Files of `nodes` that were looked for."""

    def __post_init__(self) -> None:
        """Define the datasets as tables and the views over them."""
        self._connection.execute("SET TimeZone = 'UTC'")
        # All that there is fits into one vector: a second thread would only be woken.
        self._connection.execute("SET threads = 1")
        define_empty(self._connection, last="trial_results")

    def reasons(self, manifests: Sequence[TrialManifest]) -> dict[str, tuple[str, ...]]:
        """Return what speaks against each trial in the boundary that it supports best; nothing where it is valid.

        Raises DiskFull or WarehouseError where its records can be read in no way.
        """
        try:
            self._load(manifests)
            rows = self._connection.execute(_REASONS).fetchall()
        except (OSError, pa.ArrowException, duckdb.Error, JoulemarkError):
            # Records that were packed meanwhile, or damaged: the build step knows what to do with them.
            return {m.trial: built_reasons(self.warehouse, m.trial) for m in manifests}
        finally:
            self._clear()
        found = {trial: tuple(reasons) for trial, reasons in rows}
        return {m.trial: found.get(m.trial, ("no_power",)) for m in manifests}

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _load(self, manifests: Sequence[TrialManifest]) -> None:
        energy = DATASETS["trial_energy"].arrow
        rows = [row for m in manifests for row in self._energies(m)]
        self._put("trial_energy", [pa.Table.from_pylist(rows, schema=energy)])
        self._put("manifests", [manifests_table(manifests)])
        for dataset in READ:
            names = dict.fromkeys(t.path for m in manifests for t in m.traces if t.dataset == dataset)
            self._put(dataset, [self._read(dataset, n) for n in names])
        self._put("nodes", self._equipment(manifests))

    def _energies(self, manifest: TrialManifest) -> list[dict[str, object]]:
        """Return the rows of `trial_energy` for the window, which is all that speaks for or against a trial."""
        for part in manifest.nodes:
            self._remember(part.node, manifest)
        nodes = {p.node for p in manifest.nodes}
        traces = [t for n in nodes for t in self._recent[n]]
        spans = {t.path: (t.first_us, t.last_us) for t in traces if t.first_us is not None and t.last_us is not None}
        reader = PowerReader(self.warehouse, tuple(t.path for t in traces), spans)
        clocks = Clocks(self.warehouse, tuple(self._clock_files()) if len(nodes) > 1 else ())
        parts = tuple(replace(p, cold_idle=None, loaded_idle=None) for p in manifest.nodes)
        rows = trial_energy_rows(replace(manifest, nodes=parts), reader, clocks, self._updates(manifest))
        if reader.warnings or clocks.warnings:
            raise OSError(*reader.warnings, *clocks.warnings)
        return rows

    def _updates(self, manifest: TrialManifest) -> MeterUpdates:
        """Return how often the meters of the trial's nodes move, which their agents found out when they began."""
        names = tuple(segment_file("nodes", p.node, p.boot) for p in manifest.nodes)
        if names not in self._meters:
            self._meters[names] = MeterUpdates.read(self.warehouse, tuple(n for n in names if self.warehouse.exists(n)))
        return self._meters[names]

    def _remember(self, node: str, manifest: TrialManifest) -> None:
        recent = self._recent[node]
        known = {t.path for t in recent}
        start = f"{dataset_folder('power')}/{node}/"
        recent.extend(t for t in manifest.traces if t.path.startswith(start) and t.path not in known)
        while recent and recent[0].last_us is not None and recent[0].last_us < manifest.started_us - MARGIN_US:
            recent.popleft()

    def _clock_files(self) -> list[str]:
        return self.warehouse.list(dataset_folder("clocks"), ".parquet")

    def _equipment(self, manifests: Iterable[TrialManifest]) -> list[pa.Table]:
        names = {segment_file("nodes", p.node, p.boot) for m in manifests for p in m.nodes} - self._known
        self._known |= names
        return [self._read("nodes", n) for n in sorted(names) if self.warehouse.exists(n)]

    def _read(self, dataset: str, name: str) -> pa.Table:
        columns = DATASETS[dataset].arrow.names
        table = pq.read_table(self.warehouse.path(name), filesystem=self.warehouse.filesystem)
        return table.select([c for c in columns if c in table.column_names])

    def _put(self, name: str, tables: Sequence[pa.Table]) -> None:
        for table in tables:
            self._connection.register("incoming", table)
            self._connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
            self._connection.unregister("incoming")

    def _clear(self) -> None:
        for name in ("manifests", "trial_energy", *READ):
            self._connection.execute(f"TRUNCATE {name}")


def built_reasons(warehouse: Warehouse, trial: str) -> tuple[str, ...]:
    """Return the same by way of the build step, which writes the trial's figures.

    Raises DiskFull or WarehouseError where they cannot be written: that says nothing about the trial.
    """
    with open_snapshot(build(warehouse, only=(trial,)).snapshot) as connection:
        rows = connection.sql(
            f"SELECT reasons FROM trial_results WHERE trial = '{trial}' ORDER BY len(reasons) LIMIT 1"  # noqa: S608 -- an id of ours: hex digits and dashes
        ).to_pylist()
    return tuple(rows[0]["reasons"]) if rows else ("no_power",)
