"""The driver's events: written where it runs, and put into the warehouse when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape

from joulemark.agents.engines.logs import keep_logs
from joulemark.agents.event_log import EventLog
from joulemark.agents.home import joulemark_home
from joulemark.agents.secrets import Secrets
from joulemark.warehouse.errors import MissingTool, WarehouseError
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.location import Warehouse

FOLDER = "drivers"


@contextmanager
def driver_log(warehouse: Warehouse, sweep: str, tell: Callable[[str], None]) -> Iterator[EventLog]:
    """Yield the log of one run. Raises MissingTool where it cannot be written."""
    folder = joulemark_home() / FOLDER
    try:
        events = EventLog(folder, f"driver-{sweep}", sweep=sweep)
    except PermissionError as error:
        raise MissingTool(f"{error.filename} may not be written; set JOULEMARK_HOME to a folder of your own") from error
    events.say("sweep_began")
    try:
        yield events
    finally:
        events.say("sweep_ended")
        events.close()
        try:
            keep_logs(folder, warehouse, Secrets.here(), escape(events.path.name))
        except WarehouseError as error:
            tell(f"the driver's log stays at {events.path}: {error}")


def committed(manifest: TrialManifest) -> dict[str, object]:
    """Return what the log says of a trial that was committed."""
    return {
        "cell": manifest.cell,
        "trial": manifest.trial,
        "node": ", ".join(p.node for p in manifest.nodes),
        "outcome": manifest.outcome,
        "failure_class": manifest.failure_class,
        "error": manifest.error,
    }
