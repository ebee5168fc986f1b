"""What the user asks of a publication."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FORMATS = ("csv", "json", "parquet", "markdown")


@dataclass(frozen=True)
class Options:
    """How a site is made.

    ``redact`` takes out names of hosts and users, addresses and paths; ``simulated`` lets trials of the simulator in;
    ``traces`` publishes raw traces; ``sql`` the page that asks the tables in the browser (34 MB);
    ``previous`` is the folder of an earlier publication whose history goes on, by default the one in the target.
    """

    title: str = "joulemark"
    redact: bool = True
    simulated: bool = False
    traces: bool = True
    sql: bool = True
    previous: Path | None = None
