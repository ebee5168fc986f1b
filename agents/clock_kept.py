"""Whether a time server keeps this machine's clock, as the kernel says."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass

_TIMEX_BYTES = 512
"""More than the kernel's structure has."""
_MAXERROR_AT = 24
UNSYNCHRONISED = 5


@dataclass(frozen=True)
class ClockKept:
    """``kept`` is None where the kernel does not tell; ``error_us`` is how far the clock may be off at most."""

    kept: bool | None
    error_us: int | None


def clock_kept() -> ClockKept:
    """Ask the kernel; nothing is changed."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return ClockKept(None, None)
    if state < 0:
        return ClockKept(None, None)
    kept = state != UNSYNCHRONISED
    return ClockKept(kept, struct.unpack_from("=q", timex.raw, _MAXERROR_AT)[0] if kept else None)
