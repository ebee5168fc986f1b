"""Wakes the event loop at absolute instants of the monotonic clock, exact to the kernel's timers.

The loop's own timers are relative and whole milliseconds in libuv. A timerfd is neither, and tells how often it has
expired when nobody looked (timerfd_create(2)); the standard library has it from Python 3.13 on.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

NS_PER_S = 1_000_000_000
_MONOTONIC, _ABSOLUTE, _NONBLOCK_CLOEXEC = 1, 1, os.O_NONBLOCK | os.O_CLOEXEC
_TIMER = struct.Struct("@qqqq")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.timerfd_settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]


class Alarm:
    """Calls ``ring(times)`` on the running loop: ``times`` is how often it was due since the call before."""

    def __init__(self, ring: Callable[[int], None]) -> None:
        self._ring = ring
        self._file = _libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._rings)

    def set(self, at_ns: int, every_ns: int = 0) -> None:
        """Ring at ``at_ns`` (now, where that has gone by), and from then on each ``every_ns`` unless that is 0."""
        at_ns = max(1, at_ns)
        setting = _TIMER.pack(every_ns // NS_PER_S, every_ns % NS_PER_S, at_ns // NS_PER_S, at_ns % NS_PER_S)
        if _libc.timerfd_settime(self._file, _ABSOLUTE, setting, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Ring no more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _rings(self) -> None:
        try:
            (times,) = struct.unpack("=Q", os.read(self._file, 8))
        except BlockingIOError:
            # It was set anew between the wake-up and this.
            return
        self._ring(times)
