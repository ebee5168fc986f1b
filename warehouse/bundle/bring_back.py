"""Check an exported sweep, and bring it into a warehouse."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from joulemark.warehouse.bundle.contents import check
from joulemark.warehouse.bundle.export import ABOUT, CHECKSUMS
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.layout import TRIALS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit, decode

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_PARTS = (
    "sweeps",
    "trials",
    "logs",
    "nodes",
    "clocks",
    "kept",
    "power",
    "rounds",
    "device_state",
    "requests",
    "engine_state",
)


@dataclass(frozen=True)
class Brought:
    """Files and trials of the bundle, all checked, and how many of the files are new to the warehouse."""

    files: int
    trials: int
    new: int


def is_bundle(path: Path) -> bool:
    """Return whether something is an exported sweep, by its form."""
    if path.is_dir():
        return (path / CHECKSUMS).is_file()
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except OSError:
        return False


def verify(path: Path) -> Brought:
    """Check every file of a bundle by its checksum and every trace by its manifest. Raises BadInput."""
    with _unpacked(path) as folder:
        names, manifests = _checked(path, folder)
    return Brought(len(names), len(manifests), 0)


def bring_back(warehouse: Warehouse, path: Path) -> Brought:
    """Check a bundle and write what the warehouse does not have: traces first, then the manifests, which commit.

    Raises BadInput where the bundle is damaged: then nothing is written. Raises DiskFull or WarehouseError.
    """
    with _unpacked(path) as folder:
        names, manifests = _checked(path, folder)
        new = 0
        for name in (n for n in names if not n.startswith(f"{TRIALS}/")):
            new += warehouse.create(name, (folder / name).read_bytes())
        for name, manifest in manifests.items():
            if warehouse.exists(name) and warehouse.read(name) == (folder / name).read_bytes():
                continue
            new += 1
            commit(warehouse, manifest)
    return Brought(len(names), len(manifests), new)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="joulemark-bundle-") as folder:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise BadInput(f"{path}: cannot be unpacked: {error}") from error
        yield Path(folder)


def _checked(path: Path, folder: Path) -> tuple[list[str], dict[str, TrialManifest]]:
    """Return the names of all files, and the manifests by name."""
    sums = _checksums(path, folder)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()} - {CHECKSUMS, ABOUT}
    _none(path, "missing", sums.keys() - there)
    # What was asked of it meanwhile: figures are no part of a bundle.
    _none(path, "not in its checksums", {n for n in there - sums.keys() if not n.startswith("built/")})
    wrong = {n for n, digest in sums.items() if hashlib.sha256((folder / n).read_bytes()).hexdigest() != digest}
    _none(path, "changed since they were exported", wrong)
    manifests = {n: decode(n, (folder / n).read_bytes()) for n in sums if n.startswith(f"{TRIALS}/")}
    for manifest in manifests.values():
        for trace in manifest.traces:
            if trace.path in sums:
                try:
                    check(trace, pq.read_table(folder / trace.path))
                except (OSError, pa.ArrowException) as error:
                    raise BadInput(f"{path}: {trace.path}: {str(error).splitlines()[0]}") from error
    return list(sums), manifests


def _checksums(path: Path, folder: Path) -> dict[str, str]:
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: no bundle that `joulemark export` wrote: it has no {CHECKSUMS}") from error
    sums = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or not _belongs(match[2]):
            raise BadInput(f"{path}: {CHECKSUMS}: {line[:80]!r} is no line of it")
        sums[match[2]] = match[1]
    return sums


def _belongs(name: str) -> bool:
    """Return whether a name is one of a record, and stays inside the folder."""
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and parts[0] in _PARTS and ".." not in parts


def _none(path: Path, what: str, names: set[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise BadInput(f"{path}: damaged: {min(names)}{more}: {what}")
