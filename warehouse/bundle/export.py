"""Take a sweep out: a folder that is a warehouse of its own, or a tar file of one, with checksums of everything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joulemark import __version__
from joulemark.warehouse.bundle.contents import manifests_of, pieces
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.query.snapshot import Snapshot

CHECKSUMS = "SHA256SUMS"
ABOUT = "bundle.json"
Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Exported:
    """What was taken out."""

    trials: int
    files: int
    bytes: int


def export(snapshot: Snapshot, sweep: str, target: Path) -> Exported:
    """Write all records of a sweep to ``target``: a tar file where its name ends with .tar, else a folder.

    It appears when it is whole. Raises BadInput where there is no such sweep, where something lies at the target or
    where it cannot be written, and WarehouseError where records are damaged.
    """
    manifests = manifests_of(snapshot, sweep)
    if target.exists():
        raise BadInput(f"{target} is there already; give another place, or move it away")
    lines, total = [], 0
    try:
        with _written(target) as put:
            about = {"joulemark": __version__, "sweep": sweep, "trials": len(manifests), "layout": 1}
            put(ABOUT, json.dumps(about, indent=1).encode() + b"\n")
            for piece in pieces(snapshot, manifests):
                put(piece.name, piece.content)
                lines.append(f"{hashlib.sha256(piece.content).hexdigest()}  {piece.name}")
                total += len(piece.content)
            put(CHECKSUMS, "\n".join([*lines, ""]).encode())
    except OSError as error:
        raise BadInput(f"cannot write {target}: {error.strerror}") from error
    return Exported(len(manifests), len(lines), total)


@contextmanager
def _written(target: Path) -> Iterator[Put]:
    """Yield a function that adds a file. The target appears when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        if target.suffix == ".tar":
            with tarfile.open(temporary, "w") as archive:
                yield lambda name, content: archive.addfile(_entry(name, content), io.BytesIO(content))
        else:
            yield lambda name, content: _put(temporary / name, content)
        os.rename(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _entry(name: str, content: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    return entry


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
