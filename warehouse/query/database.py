"""A DuckDB file with all views of a local warehouse, for other DuckDB clients: no traces, only where they lie."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import duckdb

from joulemark.warehouse.errors import BadInput, WarehouseError
from joulemark.warehouse.query.connection import define
from joulemark.warehouse.query.groups import FIGURES
from joulemark.warehouse.query.snapshot import Snapshot
from joulemark.warehouse.views import STORED


def write_database(snapshot: Snapshot, path: Path) -> None:
    """Write the file, replacing one that is there when it is whole. It can be deleted at any time.

    Manifests are in it as they are now; traces and figures are read where they lie. Raises BadInput where the warehouse
    is not a local folder or the file cannot be written.
    """
    if not snapshot.warehouse.local:
        raise BadInput("a DuckDB file can be written for a warehouse in a local folder only; export a sweep instead")
    if path.exists() and not _is_database(path):
        raise BadInput(f"{path} is there and no DuckDB file; give another name")
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}"
    stored = snapshot.covered(FIGURES).issuperset(snapshot.trials)
    try:
        connection = duckdb.connect(str(temporary))
        try:
            connection.execute("SET TimeZone = 'UTC'")
            define(connection, snapshot, stored=STORED if stored else (), copy=True)
        finally:
            connection.close()
        os.replace(temporary, path)
    except duckdb.Error as error:
        raise WarehouseError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
        Path(f"{temporary}.wal").unlink(missing_ok=True)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(12)[8:12] == b"DUCK"
