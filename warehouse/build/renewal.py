"""Which trials have figures that were made without records that can be read now."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from joulemark.warehouse.query.groups import FIGURES
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.store.batches import BUILT_ROOT, Batch

LATE = ("power", "device_state")
"""Datasets of which a stretch may come after the trial was committed: what a node that had crashed has recovered."""
INTERVALS = ("window", "cold_idle", "loaded_idle")


def renewed_trials(snapshot: Snapshot, trials: Collection[str]) -> set[str]:
    """Return those of the trials to which records have come since their figures were made."""
    found = {
        trial
        for batches in snapshot.batches.values()
        for batch in batches
        if batch.root == BUILT_ROOT
        for trial, names in batch.lacking.items()
        if trial in trials and any(map(snapshot.has, names))
    }
    return found | {t for t in _with_late_records(snapshot) if t in trials}


def _with_late_records(snapshot: Snapshot) -> set[str]:
    """Return trials of whose time and node there is a file that was written after their figures."""
    names = [n for d in LATE for n in snapshot.files[d] if not snapshot.footers[n].replaces]
    batches = [b for b in snapshot.batches[FIGURES] if b.root == BUILT_ROOT]
    if not names or not batches:
        return set()
    written = np.array([snapshot.written_ns[n] for n in names])
    # A file that does not tell its time could be of any.
    first = np.array([-(1 << 62) if (v := snapshot.footers[n].first_us) is None else v for n in names])
    last = np.array([1 << 62 if (v := snapshot.footers[n].last_us) is None else v for n in names])
    found: set[str] = set()
    for batch in batches:
        newer = np.flatnonzero(written > batch.written_ns)
        if not len(newer):
            continue
        rows = _rows(snapshot, batch)
        begin, end = (f([r[k] for r in rows], default=0) for f, k in ((min, "started_us"), (max, "ended_us")))
        for i in newer[(first[newer] <= end) & (last[newer] >= begin)]:
            node = names[i].split("/")[1]
            found |= {r["trial"] for r in rows if _touches(r, node, int(first[i]), int(last[i]))}
    return found


def _rows(snapshot: Snapshot, batch: Batch) -> list[dict[str, Any]]:
    mask = pc.is_in(snapshot.table["trial"], pa.array(batch.trials))
    table = snapshot.table.select(["trial", "started_us", "ended_us", "nodes"]).filter(mask)
    return list(table.to_pylist())


def _touches(row: dict[str, Any], node: str, first_us: int, last_us: int) -> bool:
    spans = [part[name] for part in row["nodes"] if part["node"] == node for name in INTERVALS]
    return any(s is not None and s["start_us"] <= last_us and s["end_us"] >= first_us for s in spans)
