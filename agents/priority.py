"""Scheduling priority of what must never be late: the sampler and the load client."""

from __future__ import annotations

import os

PREFERRED_NICE = -10


def prefer_me() -> bool:
    """Ask for a higher priority than the engine's; return whether it was granted (it takes privileges)."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PREFERRED_NICE)
    except PermissionError:
        return False
    return True
