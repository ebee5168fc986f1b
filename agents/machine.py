"""One measurement at a time on a machine, whoever makes it: users and homes of their own share its meters and its CPUs.

The claim is a socket with an abstract name. The kernel gives it up with the process that holds it, no file is left
behind, and no user needs a right to another's. It is seen within one network namespace: by all users of a machine, and
by containers that share the host's network.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

NAME = "joulemark-measures"
VARIABLE = "JOULEMARK_MACHINE"
"""Sets apart what does not share any hardware that is measured, though it shares a network namespace."""
POLL_S = 0.2
_CREDENTIALS = struct.Struct("3i")


@dataclass
class Machine:
    """The claim of this process on the machine. ``name`` tells machines apart."""

    name: str = field(default_factory=lambda: os.environ.get(VARIABLE, ""))
    _held: socket.socket | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._held is not None

    def claim(self, say: Callable[[str], None]) -> None:
        """Hold the machine from now on; wait while another process does.

        ``say`` is told of the wait again and again, and ends it by raising.
        """
        if self.held:
            return
        who = ""
        while (claim := self._bound()) is None:
            # Asked once: nobody takes the questions off the holder's queue.
            who = who or self.holder()
            say(f"waiting for {who}, which measures on this machine")
            time.sleep(POLL_S)
        self._held = claim

    def release(self) -> None:
        """Leave the machine to others; nothing where it was not held."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def holder(self) -> str:
        """Return who holds the machine, as far as that can be seen from here."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            try:
                asking.connect(self._address)
            except OSError:
                return "another joulemark"
            pid, uid, _ = _CREDENTIALS.unpack(
                asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        # A process of another container has no number here.
        return f"joulemark of {_user(uid)}" + (f" (process {pid})" if pid else "")

    @property
    def _address(self) -> str:
        return f"\0{NAME}{self.name and f'-{self.name}'}"

    def _bound(self) -> socket.socket | None:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(self._address)
            # Only one that listens tells others whose it is.
            claim.listen()
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return None
        return claim


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
