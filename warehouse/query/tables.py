"""Arrow tables that the views start from: the manifests and the sites, with explicit types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import msgspec
import pyarrow as pa

from joulemark.warehouse.query.sites import Site
from joulemark.warehouse.schema.trial import TrialManifest

_INTERVAL = pa.struct([("start_us", pa.int64()), ("end_us", pa.int64())])
_NODE_PART = pa.struct(
    [
        ("node", pa.string()),
        ("boot", pa.string()),
        ("devices", pa.list_(pa.string())),
        ("accelerator", pa.string()),
        ("window", _INTERVAL),
        ("cold_idle", _INTERVAL),
        ("loaded_idle", _INTERVAL),
        ("loaded_idle_cpus", pa.float64()),
    ]
)
_CLIENT = pa.struct(
    [
        ("in_flight_fraction", pa.float64()),
        ("lag_p99_us", pa.int64()),
        ("cpu_fraction", pa.float64()),
        ("median_request_us", pa.int64()),
        ("completed", pa.int64()),
        ("failed", pa.int64()),
        ("processes", pa.int32()),
        ("rate_asked_per_s", pa.float64()),
        ("rate_achieved_per_s", pa.float64()),
        ("backlog_max", pa.int64()),
        ("highest_rate_per_s", pa.float64()),
        ("apart", pa.struct([("node", pa.string()), ("shift_us", pa.int64()), ("clock_us", pa.int64())])),
    ]
)
_JSON = ("factors", "model", "engine", "versions", "traces")
"""Fields whose keys are open or deep: kept as JSON text."""

MANIFESTS = pa.schema(
    [
        ("trial", pa.string()),
        ("cell", pa.string()),
        ("deployment", pa.string()),
        ("sweep", pa.string()),
        ("start", pa.int32()),
        ("repeat", pa.int32()),
        ("attempt", pa.int32()),
        ("factors", pa.string()),
        ("planned_repeats", pa.int32()),
        ("planned_starts", pa.int32()),
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("nodes", pa.list_(_NODE_PART)),
        ("started_us", pa.int64()),
        ("ended_us", pa.int64()),
        ("model", pa.string()),
        ("failure_class", pa.string()),
        ("error", pa.string()),
        ("engine", pa.string()),
        ("client", _CLIENT),
        ("traces", pa.string()),
        ("versions", pa.string()),
        ("simulated", pa.bool_()),
        ("duplicate_of", pa.string()),
    ]
)

SITES = pa.schema(
    [
        ("sweep", pa.string()),
        ("gpu_hour", pa.float64()),
        ("electricity_per_kwh", pa.float64()),
        ("pue", pa.float64()),
        ("includes_power", pa.bool_()),
        ("currency", pa.string()),
        ("as_of", pa.string()),
    ]
)

SLOS = pa.schema(
    [("sweep", pa.string()), ("latency", pa.string()), ("statistic", pa.string()), ("limit_ms", pa.float64())]
)


def manifests_table(manifests: Iterable[TrialManifest]) -> pa.Table:
    """Return one row per manifest, duplicates included."""
    return pa.Table.from_pylist([_manifest_row(m) for m in manifests], schema=MANIFESTS)


def sites_table(sites: dict[str, Site]) -> pa.Table:
    """Return one row per sweep that has stored prices."""
    rows = [{"sweep": sweep} | {f.name: getattr(site, f.name) for f in fields(site)} for sweep, site in sites.items()]
    return pa.Table.from_pylist(rows, schema=SITES)


def slos_table(slos: dict[str, dict[str, float]]) -> pa.Table:
    """Return one row per limit on a latency, such as ``ttft`` and ``p99``."""
    rows = []
    for sweep, limits in slos.items():
        for name, limit_s in limits.items():
            latency, _, statistic = name.partition("_")
            rows.append({"sweep": sweep, "latency": latency, "statistic": statistic, "limit_ms": limit_s * 1e3})
    return pa.Table.from_pylist(rows, schema=SLOS)


def _manifest_row(manifest: TrialManifest) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(manifest)
    return row | {name: None if row[name] is None else json.dumps(row[name]) for name in _JSON}
