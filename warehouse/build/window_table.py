"""The table `window_variation` of some trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.build.request_energy import cumulative_j
from joulemark.warehouse.build.spans import Spans, read_spans
from joulemark.warehouse.build.window_energy import window_components, window_energy
from joulemark.warehouse.build.window_variation import FINEST, tokens_until, variation
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import TrialManifest


def window_variation_table(snapshot: Snapshot, manifests: Sequence[TrialManifest], reader: PowerReader) -> pa.Table:
    """Return one row per trial whose window has energy and tokens. Raises as ``request_energy_table`` does."""
    trials = {m.trial for m in manifests}
    components = window_components(snapshot, trials)
    spans = read_spans(snapshot.warehouse, snapshot.files["requests"], trials, tokens=True)
    found = (_row(m, components[m.trial], spans.get(m.trial, []), reader) for m in manifests)
    rows = sorted((r for r in found if r is not None), key=lambda r: str(r["trial"]))
    return pa.Table.from_pylist(rows, schema=DATASETS["window_variation"].arrow)


def _row(
    manifest: TrialManifest, components: list[dict[str, Any]], spans: list[Spans], reader: PowerReader
) -> dict[str, Any] | None:
    found = window_energy(manifest, components, (s.node for s in spans), reader) if spans else None
    if found is None:
        return None
    window = found.window
    edges_us = np.rint(np.linspace(window.start_us, window.end_us, FINEST + 1)).astype(np.int64)
    first_us, last_us, tokens = (
        np.concatenate([getattr(s, c) for s in spans]) for c in ("first_us", "done_us", "tokens")
    )
    until = tokens_until(edges_us, first_us, last_us, tokens.astype(np.float64))
    told = variation(np.diff(cumulative_j(found.curves, edges_us, window)), np.diff(until))
    if told is None:
        return None
    return {
        "trial": manifest.trial,
        "boundary": found.boundary,
        "blocks": told.blocks,
        "block_s": window.seconds / told.blocks,
        "error": told.error,
        "correlation": told.correlation,
    }
