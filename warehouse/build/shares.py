"""The table `request_energy` of some trials, from the components that the view `trial_components` chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.request_energy import cumulative_j, equal_shares, window_edges
from joulemark.warehouse.build.spans import Spans, read_spans
from joulemark.warehouse.build.window_energy import Row, window_components, window_energy
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import TrialManifest

METHOD = "equal_active"


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


def _shares(manifest: TrialManifest, components: list[Row], spans: list[Spans], reader: PowerReader) -> Shares | None:
    energy = window_energy(manifest, components, (s.node for s in spans), reader)
    if energy is None:
        return None
    sent_us, done_us = (
        np.concatenate([np.empty(0, np.int64), *(getattr(s, c) for s in spans)]) for c in ("sent_us", "done_us")
    )
    edges_us, sent_us, done_us = window_edges(energy.window, sent_us, done_us)
    energy_j = cumulative_j(energy.curves, edges_us, energy.window)
    shares_j, rest_j = equal_shares(energy_j, edges_us, sent_us, done_us)
    return Shares(manifest.trial, energy.boundary, energy.node, spans, shares_j, rest_j)


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
