"""Several things at the same time, of which one that fails ends the others at their next step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from joulemark.warehouse.errors import NodeLost


def side_by_side(calls: Sequence[Callable[[threading.Event], None]]) -> None:
    """Make all calls at once and return when all are over; each is given an event that says that another has failed.

    Raises what went wrong first, but for NodeLost, which comes before all else.
    """
    failed = threading.Event()
    if len(calls) == 1:
        calls[0](failed)
        return
    errors: list[BaseException] = []

    def run(call: Callable[[threading.Event], None]) -> None:
        try:
            call(failed)
        except BaseException as error:  # noqa: BLE001 -- raised again below, in the thread that asked
            errors.append(error)
            failed.set()

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if isinstance(e, NodeLost)), errors[0])
