"""The energy of a trial's window as curves, from the components that the view `trial_components` chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.build.readings import PowerReader
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest

Row = dict[str, Any]

NARROWEST = ("gpu", "cpu", "gpu+cpu", "node")
VALUES = {"counter": ("energy_uj",), "integral": ("power_mw",)}
"""What a method needs of the readings."""

COLUMNS = ("trial", "boundary", "interval", "node", "meter", "device", "scope", "method", "energy_j")


@dataclass(frozen=True)
class WindowEnergy:
    """A window on the clock of its requests, in the narrowest boundary that the trial has.

    ``node`` is the one whose clock that is; ``curves`` are the energies of the devices, each with the window on its own
    node's clock.
    """

    boundary: str
    node: str
    window: Interval
    curves: tuple[tuple[Curve, Interval], ...]


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


def window_energy(
    manifest: TrialManifest, components: list[Row], clients: Iterable[str], reader: PowerReader
) -> WindowEnergy | None:
    """Return the energy of the trial's window; None where there is no figure. ``clients`` are nodes with requests.

    None too where the readings are gone: of trials whose figures are kept without them.
    """
    boundary = next((b for b in NARROWEST if any(c["boundary"] == b for c in components)), None)
    mine = [c for c in components if c["boundary"] == boundary]
    parts = {p.node: p for p in manifest.nodes if p.window is not None}
    if boundary is None or not parts or any(c["energy_j"] is None for c in mine):
        return None
    client = next((parts[n] for n in clients if n in parts), next(iter(parts.values())))
    curves = tuple(_curves(mine, parts, reader))
    return WindowEnergy(boundary, client.node, _window(client), curves) if len(curves) == len(mine) else None


def _curves(components: list[Row], parts: dict[str, NodePart], reader: PowerReader) -> Iterator[tuple[Curve, Interval]]:
    """Yield the curve of each component whose readings are there."""
    for node, part in parts.items():
        window = _window(part)
        chosen = [c for c in components if c["node"] == node]
        values = sorted({v for c in chosen for v in VALUES[c["method"]]})
        devices = {c["device"] for c in chosen}
        found = reader.read(node, window.start_us, window.end_us, devices=devices, values=values)
        series = {(s.meter, s.device, s.scope): s for s in found}
        for c in chosen:
            one = series.get((c["meter"], c["device"], c["scope"]))
            if one is not None:
                yield one.curve(c["method"], window.start_us, window.end_us), window


def _window(part: NodePart) -> Interval:
    assert part.window is not None
    return part.window
