"""Why an engine ended: its own log against the adapter's patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from joulemark.warehouse.errors import EngineError
from joulemark.workloads.engines.adapter import FailurePattern

COMMON = (
    FailurePattern(
        r"ModuleNotFoundError: No module named",
        "not_installed",
        "the engine's environment lacks it: name another as `environment:` in the sweep file, or none to have one made",
    ),
    FailurePattern(
        r"[Aa]ddress already in use|EADDRINUSE|couldn't bind", "port_taken", "another program listens on its port"
    ),
    FailurePattern(r"No space left on device", "disk_full", "free some space below JOULEMARK_HOME and the warehouse"),
    FailurePattern(r"MemoryError|Cannot allocate memory|bad_alloc", "out_of_memory", "give it less to hold"),
)


SHOWN_LINES = 8
"""Lines of the engine's own log that are shown with its error."""


def diagnose(
    what: str, log: Sequence[str], patterns: Iterable[FailurePattern], otherwise: str = "engine_failed"
) -> EngineError:
    """Return the error for an engine that ended.

    ``what`` is a phrase such as ``vllm ended with exit code 1``, ``log`` the last lines that it wrote, ``otherwise``
    the failure class where no pattern matches. A pattern further up in the list wins.
    """
    text = "\n".join(log)
    for pattern in (*patterns, *COMMON):
        found = re.search(pattern.pattern, text)
        if found:
            message = f"{what}: {_line_of(text, found)} -- {pattern.advice}"
            return EngineError(message, pattern.failure_class, shown(log))
    last = next((line.strip() for line in reversed(log) if line.strip()), None)
    said = f"its last line: {last[:300]}" if last else "it wrote nothing"
    return EngineError(f"{what}; {said}", otherwise, shown(log))


def shown(log: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines of a log that say something."""
    return tuple(line.rstrip()[:300] for line in log if line.strip())[-SHOWN_LINES:]


def _line_of(text: str, found: re.Match[str]) -> str:
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return text[start : end if end >= 0 else None].strip()[:300]
