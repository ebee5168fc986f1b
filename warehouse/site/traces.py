"""The raw traces of one trial, to download and to draw.

Of power, a trial gets what its nodes' meters read from 5 s before it began to 5 s after its end, and in its idle
intervals. What is drawn is the same, averaged over even steps where there are more points than a screen has.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.site.contents import TRACES, Contents
from joulemark.warehouse.site.rows import number

Row = dict[str, Any]
Floats = NDArray[np.float64]

POINTS = 2000
"""Most points of one line that is drawn."""
BINS = 400
"""Steps of the drawn token rate, at most."""
SHORTEST_BIN_S = 0.1

AROUND_US = 5_000_000
"""What a trial gets of its nodes' meters before and after each of its intervals."""

_OF_NODE = (
    "SELECT * FROM {dataset} WHERE node = $1 AND t BETWEEN make_timestamptz($2) AND make_timestamptz($3) ORDER BY ALL"
)
_OF_TRIAL = "SELECT * FROM {dataset} WHERE trial = $1 ORDER BY ALL"


def trial_traces(contents: Contents, manifest: TrialManifest) -> dict[str, pa.Table]:
    """Return the raw records of one trial by dataset, redacted; without datasets that have none."""
    found = {}
    for dataset in TRACES:
        if dataset in ("power", "device_state"):
            asked = [(node, *span) for node, spans in _spans(manifest).items() for span in spans]
            tables = [contents.query(_OF_NODE.format(dataset=dataset), list(a)) for a in asked]
        else:
            tables = [contents.query(_OF_TRIAL.format(dataset=dataset), [manifest.trial])]
        if any(table.num_rows for table in tables):
            found[dataset] = pa.concat_tables(tables)
    return found


def _spans(manifest: TrialManifest) -> dict[str, list[tuple[int, int]]]:
    """Return the stretches of time that the trial gets of its nodes' meters, none over another."""
    wanted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for part in manifest.nodes:
        wanted[part.node].append((manifest.started_us, manifest.ended_us))
        wanted[part.node] += [(i.start_us, i.end_us) for i in (part.cold_idle, part.loaded_idle) if i is not None]
    return {node: _merged([(a - AROUND_US, b + AROUND_US) for a, b in wanted[node]]) for node in sorted(wanted)}


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def drawn(traces: dict[str, pa.Table], manifest: Row) -> Row:
    """Return what is drawn of a trial: watts of each device, tokens per second, requests in flight.

    Times are seconds from the start of the window; None where the trial has none.
    """
    start = _zero_us(manifest)
    if start is None:
        return {"power": [], "tokens": None}
    last = (manifest["ended_us"] - start) / 1e6
    first = (manifest["started_us"] - start) / 1e6
    return {
        "power": _power(traces["power"], start, first, last) if "power" in traces else [],
        "tokens": _tokens(traces["requests"], start) if "requests" in traces else None,
    }


def _zero_us(manifest: Row) -> int | None:
    windows = [part["window"] for part in manifest["nodes"] if part["window"] is not None]
    return windows[0]["start_us"] if windows else None


def _power(table: pa.Table, start_us: int, first: float, last: float) -> list[Row]:
    lines = []
    names = ("node", "meter", "device", "scope", "fidelity")
    t = (table["t"].cast(pa.int64()).to_numpy() - start_us) / 1e6
    watts = table["power_mw"].cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e3
    energy = table["energy_uj"].cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e6
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(*(table[n].to_pylist() for n in names), strict=True)):
        places[key].append(i)
    for key in sorted(places):
        index = np.array(places[key])
        index = index[np.argsort(t[index], kind="stable")]
        index = index[(t[index] >= first - 5) & (t[index] <= last + 5)]
        x, y = (t[index], watts[index]) if not np.isnan(watts[index]).all() else _slopes(t[index], energy[index])
        kept = ~np.isnan(y)
        x, y, step = _averaged(x[kept], y[kept])
        lines.append(dict(zip(names, key, strict=True)) | {"t": _list(x, 4), "w": _list(y, 3), "averaged_s": step})
    return lines


def _slopes(t: Floats, energy_j: Floats) -> tuple[Floats, Floats]:
    """Return the mean power between readings of a counter, where a meter gives no power."""
    moved = np.flatnonzero(np.diff(energy_j, prepend=np.nan) != 0)
    t, energy_j = t[moved], energy_j[moved]
    return t[1:], np.diff(energy_j) / np.diff(t)


def _averaged(x: Floats, y: Floats) -> tuple[Floats, Floats, float | None]:
    """Return at most ``POINTS`` points: means over even steps, of so many seconds."""
    if len(x) <= POINTS:
        return x, y, None
    step = (x[-1] - x[0]) / POINTS
    bins = np.minimum(((x - x[0]) / step).astype(np.int64), POINTS - 1)
    counts = np.bincount(bins, minlength=POINTS)
    full = counts > 0
    return (
        np.bincount(bins, x, POINTS)[full] / counts[full],
        np.bincount(bins, y, POINTS)[full] / counts[full],
        float(f"{step:.3g}"),
    )


def _tokens(requests: pa.Table, start_us: int) -> Row | None:
    """Return token rate and requests in flight over even steps."""
    arrivals, tokens, spans = [], [], []
    for row in requests.select(["sent_at", "ended_at", "chunk_dt_us", "chunk_tokens"]).to_pylist():
        sent = row["sent_at"]
        if sent is None:
            continue
        at = _us(sent) + np.cumsum(np.array(row["chunk_dt_us"] or [], dtype=np.int64))
        arrivals.append((at - start_us) / 1e6)
        tokens.append(np.array(row["chunk_tokens"] or np.ones(len(at)), dtype=np.float64))
        spans.append(((_us(sent) - start_us) / 1e6, (_us(row["ended_at"] or sent) - start_us) / 1e6))
    if not spans or not sum(len(a) for a in arrivals):
        return None
    x, n = np.concatenate(arrivals), np.concatenate(tokens)
    low, high = min(s for s, _ in spans), max(float(x.max()), *(e for _, e in spans))
    step = float(max(SHORTEST_BIN_S, (high - low) / BINS))
    bins = int((high - low) / step) + 1
    rate: Floats = np.bincount(((x - low) / step).astype(np.int64), n, bins) / step
    middles = low + (np.arange(bins, dtype=np.float64) + 0.5) * step
    sent_at, ended_at = (np.sort(np.array(side)) for side in zip(*spans, strict=True))
    active = np.searchsorted(sent_at, middles, "right") - np.searchsorted(ended_at, middles, "right")
    return {
        "t": _list(middles, 4),
        "rate": _list(rate, 3),
        "active": [int(a) for a in active],
        "step_s": number(step),
    }


def _us(instant: Any) -> int:
    return int(instant.timestamp() * 1e6 + 0.5)


def _list(values: Floats, decimals: int) -> list[float | int | None]:
    return [number(round(float(v), decimals)) for v in values]
