"""The engines' own output, and the agents' events, moved to where traces go once they have ended."""

from __future__ import annotations

from pathlib import Path

from joulemark.agents.secrets import Secrets
from joulemark.warehouse.store.layout import LOGS
from joulemark.warehouse.store.location import Warehouse


def keep_logs(folder: Path, warehouse: Warehouse, secrets: Secrets, pattern: str = f"{LOGS}/*") -> None:
    """Move the logs below ``folder`` that fit the pattern into the warehouse, without what is secret."""
    for log in folder.glob(pattern):
        text = secrets.hide(log.read_bytes().decode(errors="replace"))
        warehouse.write(f"{LOGS}/{log.name}", text.encode())
        log.unlink()
