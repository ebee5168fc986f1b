"""A trial's window with what happened in it: its energy as curves, and its requests. Read in batches of trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.window_energy import WindowEnergy, window_components, window_energy
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema.trial import TrialManifest

Instants = NDArray[np.int64]

BATCH = 200
"""Trials whose requests are in memory at a time."""

REQUESTS = """
SELECT
  trial, node, request, sent_at,
  coalesce(last_token_at, ended_at) AS done_at,
  first_token_at,
  coalesce(input_tokens, asked_input_tokens, 0) - coalesce(cached_tokens, 0) AS computed_tokens
FROM requests
WHERE list_contains($trials, trial)
ORDER BY trial, node, request
"""


@dataclass(frozen=True)
class TrialWindow:
    """The window of one trial: its energy, and its requests in the columns of ``REQUESTS``."""

    trial: str
    energy: WindowEnergy
    requests: pa.Table

    def instants(self, column: str) -> Instants:
        """Return a column of instants in microseconds, 0 where there is none."""
        return np.asarray(pc.fill_null(self.requests[column].cast(pa.int64()), 0).to_numpy(), dtype=np.int64)


def trial_windows(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, manifests: Sequence[TrialManifest], reader: PowerReader
) -> Iterator[list[TrialWindow]]:
    """Yield the windows of the trials batch by batch, without those that have no energy figure."""
    components = window_components(snapshot, {m.trial for m in manifests})
    for i in range(0, len(manifests), BATCH):
        batch = manifests[i : i + BATCH]
        requests = connection.sql(REQUESTS, params={"trials": [m.trial for m in batch]}).to_arrow_table()
        found = []
        for manifest in batch:
            mine = requests.filter(pc.equal(requests["trial"], manifest.trial))
            clients = mine["node"].unique().to_pylist()
            energy = window_energy(manifest, components[manifest.trial], clients, reader)
            if energy is not None:
                found.append(TrialWindow(manifest.trial, energy, mine))
        yield found
