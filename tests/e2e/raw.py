"""Window energy, tokens and shares from the raw files alone: pyarrow and plain arithmetic, nothing of joulemark."""

import bisect
import json
from collections import defaultdict

import pyarrow.parquet as pq


def manifests(warehouse):
    return [json.loads(p.read_text()) for p in sorted((warehouse / "trials").glob("*.json"))]


def window_energy_j(warehouse, manifest):
    """Difference of every device's counter over the window, edges interpolated between its changes."""
    part = manifest["nodes"][0]
    curves = defaultdict(dict)
    for path in (warehouse / "power" / part["node"]).glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["energy_uj"] is not None:
                t_us = round(row["t"].timestamp() * 1e6)
                curves[row["meter"], row["device"]].setdefault(row["energy_uj"], t_us)
    start, end = part["window"]["start_us"], part["window"]["end_us"]
    total = 0.0
    for curve in curves.values():
        points = sorted((t, e) for e, t in curve.items())
        total += (at(points, end) - at(points, start)) / 1e6
    return total


def at(points, t):
    """Linear interpolation in a list of (time, value)."""
    after = bisect.bisect_left(points, (t, float("-inf")))
    (t0, e0), (t1, e1) = points[after - 1], points[after]
    return e0 + (e1 - e0) * (t - t0) / (t1 - t0)


def requests(warehouse, manifest):
    return pq.read_table(warehouse / "requests" / f"{manifest['trial']}.parquet").to_pylist()


def timed_tokens(row):
    return sum(row["chunk_tokens"]) if row["chunk_tokens"] is not None else len(row["chunk_dt_us"])
