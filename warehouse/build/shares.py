"""The table `request_energy` of some trials, from the components that the view `trial_components` chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.request_energy import cumulative_j, equal_shares, window_edges
from joulemark.warehouse.build.spans import Spans, read_spans
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

Row = dict[str, Any]

METHOD = "equal_active"
NARROWEST = ("gpu", "cpu", "gpu+cpu", "node")
VALUES = {"counter": ("energy_uj",), "integral": ("power_mw",)}
"""What a method needs of the readings."""

COLUMNS = ("trial", "boundary", "interval", "node", "meter", "device", "scope", "method", "energy_j")


@dataclass(frozen=True)
class TrialWindow:
    """What a trial's window is made of, in its narrowest boundary: curves of energy, each with the window on its clock.

    ``window`` is on the clock of the node ``client``.
    """

    boundary: str
    client: str
    window: Interval
    curves: list[tuple[Curve, Interval]]


@dataclass(frozen=True)
class Shares:
    """Shares of one trial's window: of the requests of each node in their order, and the rest."""

    trial: str
    boundary: str
    client: str
    spans: Sequence[Spans]
    energy_j: NDArray[np.float64]
    rest_j: float


def request_energy_table(snapshot: Snapshot, manifests: Sequence[TrialManifest], reader: PowerReader) -> pa.Table:
    """Return the rows of these trials, those of a trial together: none where the window has no energy figure.

    Their figures must be in the snapshot. Raises Vanished where a file is gone, OSError or ArrowException where one
    cannot be read.
    """
    trials = {m.trial for m in manifests}
    components = window_components(snapshot, trials)
    spans = read_spans(snapshot.warehouse, snapshot.files["requests"], trials)
    found = (_shares(m, components[m.trial], spans.get(m.trial, []), reader) for m in manifests)
    return _table(sorted((s for s in found if s is not None), key=lambda s: s.trial))


def window_components(snapshot: Snapshot, trials: Collection[str]) -> defaultdict[str, list[Row]]:
    """Return what the energy of each trial's window is made of."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for name in snapshot.files["trial_components"]:
        with snapshot.warehouse.filesystem.open_input_file(snapshot.warehouse.path(name)) as source:
            rows = pq.read_table(source, columns=list(COLUMNS), filters=pc.field("interval") == "window").to_pylist()
        for row in rows:
            if row["trial"] in trials:
                found[row["trial"]].append(row)
    return found


def window_of(
    manifest: TrialManifest, components: list[Row], spans: Sequence[Spans], reader: PowerReader
) -> TrialWindow | None:
    """Return the narrowest boundary's energy of a trial; None where its window has no energy figure."""
    boundary = next((b for b in NARROWEST if any(c["boundary"] == b for c in components)), None)
    mine = [c for c in components if c["boundary"] == boundary]
    parts = {p.node: p for p in manifest.nodes if p.window is not None}
    if boundary is None or not parts or any(c["energy_j"] is None for c in mine):
        return None
    client = next((parts[s.node] for s in spans if s.node in parts), next(iter(parts.values())))
    curves = list(_curves(mine, parts, reader))
    return TrialWindow(boundary, client.node, _window(client), curves)


def _shares(manifest: TrialManifest, components: list[Row], spans: list[Spans], reader: PowerReader) -> Shares | None:
    found = window_of(manifest, components, spans, reader)
    if found is None:
        return None
    sent_us, done_us = (
        np.concatenate([np.empty(0, np.int64), *(getattr(s, c) for s in spans)]) for c in ("sent_us", "done_us")
    )
    edges_us, sent_us, done_us = window_edges(found.window, sent_us, done_us)
    energy_j = cumulative_j(found.curves, edges_us, found.window)
    shares_j, rest_j = equal_shares(energy_j, edges_us, sent_us, done_us)
    return Shares(manifest.trial, found.boundary, found.client, spans, shares_j, rest_j)


def _curves(components: list[Row], parts: dict[str, NodePart], reader: PowerReader) -> Iterator[tuple[Curve, Interval]]:
    for node, part in parts.items():
        window = _window(part)
        chosen = [c for c in components if c["node"] == node]
        values = sorted({v for c in chosen for v in VALUES[c["method"]]})
        devices = {c["device"] for c in chosen}
        found = reader.read(node, window.start_us, window.end_us, devices=devices, values=values)
        series = {(s.meter, s.device, s.scope): s for s in found}
        for c in chosen:
            one = series[c["meter"], c["device"], c["scope"]]
            yield one.curve(c["method"], window.start_us, window.end_us), window


def _window(part: NodePart) -> Interval:
    assert part.window is not None
    return part.window


def _table(shares: Sequence[Shares]) -> pa.Table:
    """Return the dataset's rows: for each trial those of requests that have a share, then the rest."""
    schema = DATASETS["request_energy"].arrow
    pieces = [(s, *_columns(s)) for s in shares]
    counts = [len(energy_j) for _, _, _, energy_j in pieces]
    number = np.concatenate([np.empty(0, np.int64), *(n for _, _, n, _ in pieces)])
    rests = np.cumsum(counts, dtype=np.int64) - 1
    is_rest = np.zeros(len(number), dtype=np.bool_)
    is_rest[rests] = True
    nothing = pa.nulls(len(number), pa.float64())
    columns = {
        "trial": _words([s.trial for s in shares], np.repeat(np.arange(len(shares)), counts)),
        "node": pa.concat_arrays([pa.array([], pa.string()), *(node for _, node, _, _ in pieces)]),
        "request": pa.array(number.astype(np.int32), mask=is_rest),
        "boundary": _words([s.boundary for s in shares], np.repeat(np.arange(len(shares)), counts)),
        "energy_j": np.concatenate([np.empty(0), *(energy_j for _, _, _, energy_j in pieces)]),
        "prefill_j": nothing,
        "decode_j": nothing,
        "method": _words([METHOD], np.zeros(len(number), dtype=np.int64)),
    }
    return pa.table(columns, schema=schema)


def _words(words: list[str], places: NDArray[np.int64]) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(places))


def _columns(shares: Shares) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.float64]]:
    """Return nodes, numbers and energies of one trial's rows, the rest last."""
    kept = shares.energy_j != 0
    nodes = [s.node for s in shares.spans]
    place = np.repeat(np.arange(len(nodes)), [len(s.number) for s in shares.spans])
    number = np.concatenate([np.empty(0, np.int64), *(s.number for s in shares.spans)])
    return (
        _words([*nodes, shares.client], np.append(place[kept], len(nodes))),
        np.append(number[kept], np.int64(0)),
        np.append(shares.energy_j[kept], shares.rest_j),
    )
