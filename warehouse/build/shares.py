"""The table `request_energy` of some trials, from the components that the view `trial_components` chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.request_energy import Activity, cumulative_j, equal_shares
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
    activity = Activity.of(energy.window, sent_us, done_us)
    shares_j, rest_j = equal_shares(cumulative_j(energy.curves, activity.edges_us, energy.window), activity)
    return Shares(manifest.trial, energy.boundary, energy.node, spans, shares_j, rest_j)


def _table(shares: Sequence[Shares]) -> pa.Table:
    """Return the dataset's rows, with numbers for words: for each trial those with a share, then the rest."""
    nodes: dict[str, int] = {}
    pieces = [_columns(s, nodes) for s in shares]
    counts = [len(energy_j) for _, _, energy_j in pieces]
    place = np.concatenate([np.empty(0, np.int32), *(p for p, _, _ in pieces)])
    number = np.concatenate([np.empty(0, np.int32), *(n for _, n, _ in pieces)])
    is_rest = np.zeros(len(number), dtype=np.bool_)
    is_rest[np.cumsum(counts, dtype=np.int64) - 1] = True
    boundaries = {boundary: i for i, boundary in enumerate(dict.fromkeys(s.boundary for s in shares))}
    nothing = pa.nulls(len(number), pa.float64())
    columns = {
        "trial": _words([s.trial for s in shares], np.repeat(np.arange(len(shares), dtype=np.int32), counts)),
        "node": _words(nodes, place),
        "request": pa.array(number, mask=is_rest),
        "boundary": _words(boundaries, np.repeat(np.array([boundaries[s.boundary] for s in shares], np.int32), counts)),
        "energy_j": np.concatenate([np.empty(0), *(energy_j for _, _, energy_j in pieces)]),
        "prefill_j": nothing,
        "decode_j": nothing,
        "method": _words([METHOD], np.zeros(len(number), np.int32)),
    }
    return pa.table(columns, schema=DATASETS["request_energy"].numbered(pa.int32()))


def _words(words: Iterable[str], places: NDArray[np.int32]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(places, pa.array(words, pa.string()))


def _columns(shares: Shares, nodes: dict[str, int]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return places in ``nodes``, numbers and energies of one trial's rows, the rest last; add nodes that are new."""
    kept = shares.energy_j != 0
    places = [nodes.setdefault(name, len(nodes)) for name in (*(s.node for s in shares.spans), shares.client)]
    place = np.repeat(np.array(places[:-1], np.int32), [len(s.number) for s in shares.spans])
    number = np.concatenate([np.empty(0, np.int32), *(s.number for s in shares.spans)])
    return (
        np.concatenate((place[kept], np.array(places[-1:], np.int32))),
        np.concatenate((number[kept], np.zeros(1, np.int32))),
        np.concatenate((shares.energy_j[kept], [shares.rest_j])),
    )
