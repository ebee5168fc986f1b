"""Scheduling priority of what must never be late: the sampler and the load client."""

from __future__ import annotations

import os

PREFERRED_NICE = -10
LOWEST_REALTIME = 1


def prefer_me() -> str:
    """Ask to run before the engine whenever there is something to do; return what was granted.

    Real-time scheduling and raised priority take privileges; without them it is ``normal``.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST_REALTIME))
    except PermissionError:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, PREFERRED_NICE)
        except PermissionError:
            return "normal"
        return f"nice {PREFERRED_NICE}"
    return "real-time"
