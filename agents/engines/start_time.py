"""How long an engine may take to be ready: a base for all that it does besides, and the time to read the weights."""

from __future__ import annotations

import os
from pathlib import Path

SLOWEST_READ_BYTES_PER_S = 100e6
"""A network file system that several nodes read from at once, or a hub over a 1 Gbit/s line. Local NVMe is 10 to 50
times as fast; who waits in vain waits long, but who gives up too early has measured nothing."""


def start_timeout_s(base_s: float, model: str, weight_bytes: float | None) -> float:
    """Return how many seconds to wait for an engine that loads ``model``: a file, a folder or a hub id.

    ``base_s`` is for the rest: imports, compilation, capturing graphs. Where the files are here their size counts,
    else ``weight_bytes``; where neither is known, the base is all.
    """
    size = bytes_of(Path(model)) or weight_bytes or 0.0
    return base_s + size / SLOWEST_READ_BYTES_PER_S


def bytes_of(place: Path) -> int:
    """Return the size of a model's file or of all files of its folder; 0 where nothing is there."""
    if place.is_file():
        return place.stat().st_size
    return sum(os.stat(path).st_size for path in place.rglob("*") if path.is_file()) if place.is_dir() else 0
