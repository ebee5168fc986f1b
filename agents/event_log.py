"""What an agent or a driver does, as lines of JSON in a file of its own, for programs that gather logs."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

FIELDS = ("sweep", "cell", "trial", "node")
"""What every line says beside time, level and event; null where it is not about one."""


class EventLog:
    """Appends events to a new file below ``folder``. ``fields`` are the same in all of its lines."""

    def __init__(self, folder: Path, name: str, **fields: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
        self._fields: dict[str, object] = {**fields}
        self._file = logging.FileHandler(self.path, encoding="utf-8")
        self._file.setFormatter(_JsonLine())
        self._logger = logging.getLogger(f"joulemark events {self.path.stem}")
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        self._logger.addHandler(self._file)

    def say(self, event: str, level: int = logging.INFO, /, **fields: object) -> None:
        """Write one line. What cannot be written is no reason to end anything."""
        self._logger.log(level, event, extra={"fields": {**self._fields, **fields}})

    def close(self) -> None:
        """Close the file; what is said later is not kept."""
        # Without any handler Python would print warnings.
        self._logger.addHandler(logging.NullHandler())
        self._logger.removeHandler(self._file)
        self._file.close()


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **dict.fromkeys(FIELDS),
            **record.__dict__["fields"],
        }
        return json.dumps(line, ensure_ascii=False, default=str)
