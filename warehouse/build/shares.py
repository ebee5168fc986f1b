"""Rows of `request_energy`, trial by trial, from the components that the view `trial_components` chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.request_energy import cumulative_j, equal_shares, request_rows, window_edges
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

Row = dict[str, Any]

NARROWEST = ("gpu", "cpu", "gpu+cpu", "node")
BATCH = 200
"""Trials whose requests are in memory at a time."""

COMPONENTS = """
SELECT trial, boundary, node, meter, device, scope, method, energy_j
FROM trial_components
WHERE "interval" = 'window' AND list_contains($trials, trial)
"""

REQUESTS = """
SELECT trial, node, request, sent_at, coalesce(last_token_at, ended_at) AS done_at
FROM requests
WHERE list_contains($trials, trial)
ORDER BY trial, node, request
"""


def request_energy_rows(
    connection: duckdb.DuckDBPyConnection, manifests: list[TrialManifest], reader: PowerReader
) -> Iterator[tuple[TrialManifest, list[Row]]]:
    """Yield each trial with its rows: none where the window has no energy figure."""
    for i in range(0, len(manifests), BATCH):
        batch = manifests[i : i + BATCH]
        names = {"trials": [m.trial for m in batch]}
        components = _by_trial(connection.sql(COMPONENTS, params=names).to_arrow_table())
        requests = connection.sql(REQUESTS, params=names).to_arrow_table()
        for manifest in batch:
            mine = requests.filter(pc.equal(requests["trial"], manifest.trial))
            yield manifest, _rows(manifest, components[manifest.trial], mine, reader)


def _by_trial(components: pa.Table) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in components.to_pylist():
        found[row["trial"]].append(row)
    return found


def _rows(manifest: TrialManifest, components: list[Row], requests: pa.Table, reader: PowerReader) -> list[Row]:
    boundary = next((b for b in NARROWEST if any(c["boundary"] == b for c in components)), None)
    mine = [c for c in components if c["boundary"] == boundary]
    parts = {p.node: p for p in manifest.nodes if p.window is not None}
    if boundary is None or not parts or any(c["energy_j"] is None for c in mine):
        return []
    client = next((parts[n] for n in requests["node"].unique().to_pylist() if n in parts), next(iter(parts.values())))
    window = _window(client)
    sent_us, done_us = (_instants(requests[c]) for c in ("sent_at", "done_at"))
    edges_us, sent_us, done_us = window_edges(window, sent_us, done_us)
    energy_j = cumulative_j(_curves(mine, parts, reader), edges_us, window)
    shares_j, rest_j = equal_shares(energy_j, edges_us, sent_us, done_us)
    numbers = list(zip(requests["node"].to_pylist(), requests["request"].to_pylist(), strict=True))
    return request_rows(manifest.trial, boundary, numbers, shares_j, rest_j, client.node)


def _curves(components: list[Row], parts: dict[str, NodePart], reader: PowerReader) -> list[tuple[Curve, Interval]]:
    curves = []
    for node, part in parts.items():
        window = _window(part)
        series = {(s.meter, s.device, s.scope): s for s in reader.read(node, window.start_us, window.end_us)}
        for c in (c for c in components if c["node"] == node):
            found = series[c["meter"], c["device"], c["scope"]]
            curves.append((found.curve(c["method"], window.start_us, window.end_us), window))
    return curves


def _window(part: NodePart) -> Interval:
    assert part.window is not None
    return part.window


def _instants(column: pa.ChunkedArray) -> np.typing.NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
