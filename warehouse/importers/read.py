"""Take a file in: find its format, and write its rows with where they come from."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.importers import lm_eval, ml_energy, vllm_bench
from joulemark.warehouse.importers.format import Document, Format, Found, Row, Said
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table

FORMATS: tuple[Format, ...] = (vllm_bench.FORMAT, ml_energy.FORMAT, lm_eval.FORMAT)
LARGEST = 1 << 30
"""A file of more bytes than this is not read."""
US = 1_000_000


@dataclass(frozen=True)
class Imported:
    """What was taken in: rows of `imported`, rows of `quality`, what was left out; ``again``: it was there already."""

    format: str
    results: int
    scores: int
    left_out: tuple[str, ...]
    again: bool = False


def import_file(
    warehouse: Warehouse, path: Path, *, format_name: str | None = None, said: Said | None = None
) -> Imported:
    """Take in one file. Taking in the same file again replaces its rows by those of now.

    Raises BadInput where it cannot be read or fits no format, DiskFull or WarehouseError where it cannot be written.
    """
    content = _content(path)
    digest = hashlib.sha256(content).hexdigest()
    documents = _documents(path, content)
    chosen = _format(path, documents, format_name)
    try:
        found = _together([chosen.read(d, said or Said()) for d in documents])
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    if not found.results and not found.scores:
        why = f": {found.left_out[0]}" if found.left_out else ""
        raise BadInput(f"{path}: nothing in it can be used{why}")
    source = {"format": chosen.name, "source": path.name, "sha256": digest, "imported_at": int(time.time() * US)}
    again = any(warehouse.exists(_file(dataset, digest)) for dataset in ("imported", "quality"))
    _write(warehouse, "imported", digest, [source | _result(i, r) for i, r in enumerate(found.results)])
    where = f"{chosen.name}: {path.name}, sha256 {digest}"
    _write(warehouse, "quality", digest, [r | {"source": where} for r in found.scores])
    return Imported(chosen.name, len(found.results), len(found.scores), found.left_out, again)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise BadInput(f"{path}: over {LARGEST >> 30} GiB, which no result file is")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def _documents(path: Path, content: bytes) -> list[Document]:
    """Return the JSON document, or several that stand one per line."""
    lines = [line for line in content.splitlines() if line.strip()]
    try:
        return [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        # Not one document per line: then all lines are one.
        try:
            return [json.loads(content)]
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}: not JSON: {error}") from error


def _format(path: Path, documents: list[Document], name: str | None) -> Format:
    known = {f.name: f for f in FORMATS}
    if name is not None and name not in known:
        raise BadInput(f"unknown format {name!r}; there are {', '.join(known)}")
    fitting = [f for f in FORMATS if documents and all(f.fits(d) for d in documents) and name in (None, f.name)]
    if len(fitting) == 1:
        return fitting[0]
    asked = f"it is no {name}" if name else f"it is none of {', '.join(known)}"
    raise BadInput(f"{path}: {asked}")


def _together(found: list[Found]) -> Found:
    return Found(
        tuple(r for f in found for r in f.results),
        tuple(s for f in found for s in f.scores),
        tuple(x for f in found for x in f.left_out),
    )


def _result(number: int, row: Row) -> Row:
    return row | {"row": number, "fidelity": "imported", "details": json.dumps(row.get("details"), sort_keys=True)}


def _write(warehouse: Warehouse, dataset: str, digest: str, rows: list[Row]) -> None:
    if rows:
        # Rows name what they have; the rest is NULL.
        table = pa.Table.from_pylist(rows, schema=DATASETS[dataset].arrow)
        write_table(warehouse, DATASETS[dataset], _file(dataset, digest), table)


def _file(dataset: str, digest: str) -> str:
    return f"{dataset}/{digest[:16]}.parquet"
