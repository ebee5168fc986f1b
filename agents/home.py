"""Where a node keeps what joulemark makes for itself: engine environments and generated models."""

from __future__ import annotations

import os
from pathlib import Path


def joulemark_home() -> Path:
    """Return the cache folder of this user on this node; it need not exist yet.

    It is ``JOULEMARK_HOME`` where that is set, else ``joulemark`` in the user's cache folder.
    """
    chosen = os.environ.get("JOULEMARK_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "joulemark"
