"""A trial's window with what happened in it: its energy as curves, and its requests. Read in batches of trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

Row = dict[str, Any]
Instants = NDArray[np.int64]

NARROWEST = ("gpu", "cpu", "gpu+cpu", "node")
BATCH = 200
"""Trials whose requests are in memory at a time."""

COMPONENTS = """
SELECT trial, boundary, node, meter, device, scope, method, energy_j
FROM trial_components
WHERE "interval" = 'window' AND list_contains($trials, trial)
"""

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
    """The window of one trial on its client's clock, in the narrowest boundary that the trial has.

    ``curves`` are the energies of its devices, each with the window on its node's clock; ``requests`` has the columns
    of ``REQUESTS``.
    """

    trial: str
    boundary: str
    node: str
    window: Interval
    curves: tuple[tuple[Curve, Interval], ...]
    requests: pa.Table

    def instants(self, column: str) -> Instants:
        """Return a column of instants in microseconds, 0 where there is none."""
        return np.asarray(pc.fill_null(self.requests[column].cast(pa.int64()), 0).to_numpy(), dtype=np.int64)


def trial_windows(
    connection: duckdb.DuckDBPyConnection, manifests: list[TrialManifest], reader: PowerReader
) -> Iterator[list[TrialWindow]]:
    """Yield the windows of the trials batch by batch, without those that have no energy figure."""
    for i in range(0, len(manifests), BATCH):
        batch = manifests[i : i + BATCH]
        names = {"trials": [m.trial for m in batch]}
        components = _by_trial(connection.sql(COMPONENTS, params=names).to_arrow_table())
        requests = connection.sql(REQUESTS, params=names).to_arrow_table()
        found = (
            _window_of(m, components[m.trial], requests.filter(pc.equal(requests["trial"], m.trial)), reader)
            for m in batch
        )
        yield [w for w in found if w is not None]


def _by_trial(components: pa.Table) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in components.to_pylist():
        found[row["trial"]].append(row)
    return found


def _window_of(
    manifest: TrialManifest, components: list[Row], requests: pa.Table, reader: PowerReader
) -> TrialWindow | None:
    boundary = next((b for b in NARROWEST if any(c["boundary"] == b for c in components)), None)
    mine = [c for c in components if c["boundary"] == boundary]
    parts = {p.node: p for p in manifest.nodes if p.window is not None}
    if boundary is None or not parts or any(c["energy_j"] is None for c in mine):
        return None
    client = next((parts[n] for n in requests["node"].unique().to_pylist() if n in parts), next(iter(parts.values())))
    return TrialWindow(
        manifest.trial, boundary, client.node, _window(client), tuple(_curves(mine, parts, reader)), requests
    )


def _curves(components: list[Row], parts: dict[str, NodePart], reader: PowerReader) -> Iterator[tuple[Curve, Interval]]:
    for node, part in parts.items():
        window = _window(part)
        series = {(s.meter, s.device, s.scope): s for s in reader.read(node, window.start_us, window.end_us)}
        for c in (c for c in components if c["node"] == node):
            found = series[c["meter"], c["device"], c["scope"]]
            yield found.curve(c["method"], window.start_us, window.end_us), window


def _window(part: NodePart) -> Interval:
    assert part.window is not None
    return part.window
