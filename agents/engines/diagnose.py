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


_PREFIX = re.compile(
    # vLLM: (Worker pid=12) ERROR 11-21 01:23:10 [core.py:12]; SGLang: [2026-11-21 01:23:10 TP0]
    r"^(\s*\([\w .]+ pid=\d+\))?(\s*(DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^\]]*\])?"
    r"(\[\d{4}-\d\d-\d\d [\d:]+[^\]]*\])?"
)
"""What stands before every line of an engine's log."""
_CODE = re.compile(r"(raise|assert|return|File|if|elif|except)\b|\^+$")
"""How lines of a traceback begin that are not the error itself."""
LINE_LIMIT = 300
SHOWN_LINES = 8
"""Lines of the engine's own log that are shown with its error."""


def diagnose(
    what: str, log: Sequence[str], patterns: Iterable[FailurePattern], otherwise: str = "engine_failed"
) -> EngineError:
    """Return the error for an engine that ended.

    ``what`` is a phrase such as ``vllm ended with exit code 1``, ``log`` the last lines that it wrote, ``otherwise``
    the failure class where no pattern matches. A pattern further up in the list wins.
    """
    lines = [_PREFIX.sub("", line).strip() for line in log]
    text = "\n".join(lines)
    for pattern in (*patterns, *COMMON):
        line = _found(pattern, text)
        if line is not None:
            return EngineError(f"{what}: {line} -- {pattern.advice}", pattern.failure_class, shown(log))
    last = next((line.strip() for line in reversed(log) if line.strip()), None)
    said = f"its last line: {last[:300]}" if last else "it wrote nothing"
    return EngineError(f"{what}; {said}", otherwise, shown(log))


def shown(log: Sequence[str]) -> tuple[str, ...]:
    """Return the last lines of a log that say something."""
    return tuple(line.rstrip()[:LINE_LIMIT] for line in log if line.strip())[-SHOWN_LINES:]


def _found(pattern: FailurePattern, text: str) -> str | None:
    """Return the first line that the pattern finds; one of a traceback's own code only where there is no other."""
    lines = [_line_of(text, found) for found in re.finditer(pattern.pattern, text)]
    return next((line for line in lines if not _CODE.match(line)), lines[0] if lines else None)


def _line_of(text: str, found: re.Match[str]) -> str:
    """Return the line of the match, or of its last group where that took part."""
    group = found.lastindex if found.re.groups and found.lastindex and "\n" in found[0] else 0
    start = text.rfind("\n", 0, found.start(group)) + 1
    end = text.find("\n", found.end(group))
    line = text[start : end if end >= 0 else None].replace("\n", " ").strip()
    # Pydantic repeats the whole command line.
    return line.partition(" [type=")[0][:LINE_LIMIT]
