"""Whose a process on a GPU is: the deployment's, or someone else's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from joulemark.agents.engines.leftovers import MARK

PROC = Path("/proc")
GENERATIONS = 64
"""How far up a process's ancestors are followed."""


@dataclass
class Owners:
    """The watched process trees: descendants of ``roots``, and processes that carry a root's start mark.

    The mark finds those whose parents have ended.
    """

    roots: tuple[int, ...] = ()
    marks: frozenset[bytes] = frozenset()

    def watch(self, roots: tuple[int, ...]) -> None:
        """Replace the roots."""
        self.roots = roots
        self.marks = frozenset(m for m in map(_mark, roots) if m is not None)

    def foreign(self, pids: list[int]) -> int | None:
        """Return how many of these processes are not of the watched trees.

        None where that is not known: one of them is in another PID namespace, and no other is foreign for certain.
        """
        seen = [p for p in pids if (PROC / str(p)).exists()]
        strangers = sum(not self._ours(p) for p in seen)
        return None if not strangers and len(seen) < len(pids) else strangers

    def _ours(self, pid: int) -> bool:
        if self.marks and _mark(pid) in self.marks:
            return True
        for _ in range(GENERATIONS):
            if pid in self.roots:
                return True
            parent = _parent(pid)
            if parent is None or parent <= 1:
                return False
            pid = parent
        return False


def _mark(pid: int) -> bytes | None:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    wanted = f"{MARK}=".encode()
    return next((v for v in environment if v.startswith(wanted)), None)


def _parent(pid: int) -> int | None:
    try:
        # The name in brackets may hold anything; the fields after its last bracket are state and parent.
        return int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
