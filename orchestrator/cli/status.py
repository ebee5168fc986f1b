"""joulemark status: how a sweep stands, from any terminal."""

from __future__ import annotations

import sys
import time

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option, warehouse_option
from joulemark.orchestrator.progress import Snapshot, load
from joulemark.orchestrator.terminal import duration, line
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.layout import SWEEPS
from joulemark.warehouse.store.location import Warehouse

SILENT_S = 15.0
"""A driver that has not written for so long is gone."""


@click.command()
@click.argument("sweep", required=False)
@json_option
@warehouse_option
def status(sweep: str | None, as_json: bool, warehouse: str) -> None:
    """Show how sweeps stand: trials done, what every node does, tokens/s, watts, time left.

    Without a name, all sweeps of the warehouse.
    """
    place = Warehouse.at(warehouse)
    names = [sweep] if sweep else _names(place)
    shown = []
    for name in names:
        snapshot = load(place, name)
        if snapshot is None:
            raise WarehouseError(f"no sweep {name!r} has run in {place.url}; `joulemark status` lists those that have")
        shown.append(snapshot)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
        return
    if not shown:
        raise WarehouseError(f"no sweep has run in {place.url}; start one with `joulemark run SWEEP.yaml`")
    for snapshot in shown:
        print(_text(snapshot))


def _names(place: Warehouse) -> list[str]:
    return [n.split("/")[1] for n in place.list(SWEEPS, "/progress.json")]


def _text(snapshot: Snapshot) -> str:
    age_s = time.time() - snapshot.updated_s
    if snapshot.state == "ended":
        done = snapshot.had + snapshot.valid
        return f"{snapshot.sweep}: ended {duration(age_s)} ago, {done} of {snapshot.wanted} trials valid"
    if age_s > SILENT_S:
        return (
            f"{snapshot.sweep}: its driver (process {snapshot.pid} on {snapshot.host}) has been silent for "
            f"{duration(age_s)}; the same `joulemark run` goes on where it stopped"
        )
    return f"{snapshot.sweep}: {snapshot.state} {line(snapshot)}"
