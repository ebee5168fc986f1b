"""joulemark status: how a sweep stands, from any terminal."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from joulemark.orchestrator.cli.options import json_option, warehouse_option
from joulemark.orchestrator.progress import Snapshot, load
from joulemark.orchestrator.so_far import so_far
from joulemark.orchestrator.terminal import duration, line
from joulemark.orchestrator.watch import SILENT_S, Watch, silence
from joulemark.warehouse.errors import BadInput, WarehouseError
from joulemark.warehouse.store.layout import SWEEPS
from joulemark.warehouse.store.location import Warehouse

SOME_MISSING = 1


@click.command()
@click.argument("sweep", required=False)
@click.option(
    "--watch", is_flag=True, help="Refresh until the sweep has ended, with J/token so far and failures by class."
)
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="With --watch: how often to refresh.",
)
@json_option
@warehouse_option
def status(sweep: str | None, watch: bool, every_s: float, as_json: bool, warehouse: str) -> None:
    r"""Show how sweeps stand: trials done, what every node does, tokens/s, watts, time left.

    SWEEP is the name in the sweep file; without it all sweeps of the warehouse are shown, and with --watch the one
    that ran last. A watched sweep that ended with trials missing gives exit code 1. Ctrl-C ends the watching only.

    \b
      joulemark status
      joulemark status my-sweep --watch
    """
    place = Warehouse.at(warehouse)
    if watch and as_json:
        raise BadInput("--watch is for people: give --json without it")
    shown = [_load(place, name) for name in ([sweep] if sweep else _names(place))]
    if not shown and not as_json:
        raise WarehouseError(f"no sweep has run in {place.url}; start one with `joulemark run SWEEP.yaml`")
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
    elif watch:
        _watch(place, max(shown, key=lambda s: s.updated_s).sweep, every_s)
    else:
        print("\n".join(map(_text, shown)))


def _load(place: Warehouse, name: str) -> Snapshot:
    snapshot = load(place, name)
    if snapshot is None:
        raise WarehouseError(f"no sweep {name!r} has run in {place.url}; `joulemark status` lists those that have")
    return snapshot


def _names(place: Warehouse) -> list[str]:
    return [n.split("/")[1] for n in place.list(SWEEPS, "/progress.json")]


def _watch(place: Warehouse, sweep: str, every_s: float) -> None:
    watching = Watch(lambda: _load(place, sweep), lambda: so_far(place, sweep), every_s)
    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    last, missing = "", False
    with live or nullcontext():
        for snapshot, lines in watching:
            text = "\n".join(lines)
            if live is not None:
                live.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
            elif text != last:
                print(text, flush=True)
            last = text
            missing = snapshot.had + snapshot.valid < snapshot.wanted
    if missing:
        sys.exit(SOME_MISSING)


def _text(snapshot: Snapshot) -> str:
    age_s = time.time() - snapshot.updated_s
    if snapshot.state == "ended":
        done = snapshot.had + snapshot.valid
        return f"{snapshot.sweep}: ended {duration(age_s)} ago, {done} of {snapshot.wanted} trials valid"
    if age_s > SILENT_S:
        return f"{snapshot.sweep}: {silence(snapshot, age_s)}"
    return f"{snapshot.sweep}: {snapshot.state} {line(snapshot)}"
