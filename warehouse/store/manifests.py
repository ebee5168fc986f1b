"""Commit and read trial manifests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from joulemark.warehouse.errors import NewerSchema, WarehouseError
from joulemark.warehouse.schema.trial import MANIFEST_VERSION, TrialManifest
from joulemark.warehouse.store.layout import TRIALS, manifest_file
from joulemark.warehouse.store.location import Warehouse


def commit(warehouse: Warehouse, manifest: TrialManifest) -> bool:
    """Write the manifest, which makes the trial exist; return False where someone else was first.

    The later one is kept beside it, marked as a duplicate, and never counted. To commit the same once more, where it
    is not known whether that was done, changes nothing.
    """
    content = encode(manifest)
    if warehouse.create(manifest_file(manifest.trial), content):
        return True
    if warehouse.read(manifest_file(manifest.trial)) == content:
        return True
    name = f"{manifest.trial}-dup{uuid.uuid4().hex[:8]}"
    duplicate = replace(manifest, trial=name, duplicate_of=manifest.trial)
    warehouse.write(manifest_file(name), encode(duplicate))
    return False


def encode(manifest: TrialManifest) -> bytes:
    """Return the manifest's JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(name: str, content: bytes) -> TrialManifest:
    """Return the manifest in ``content``.

    Raises NewerSchema where a newer joulemark wrote it, WarehouseError where it is no manifest.
    """
    try:
        head = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        version = msgspec.json.decode(head.get("schema_version", msgspec.Raw(b"0")), type=int)
        if version > MANIFEST_VERSION:
            raise NewerSchema(
                f"{name}: written by a newer joulemark (schema {version}, this one knows {MANIFEST_VERSION}); "
                "upgrade joulemark, or give another --warehouse"
            )
        return msgspec.json.decode(content, type=TrialManifest)
    except msgspec.MsgspecError as error:
        raise WarehouseError(f"{name}: not a trial manifest: {error}") from error


def read_all(warehouse: Warehouse) -> Iterator[TrialManifest]:
    """Yield every manifest, in order of its name. Raises as ``decode`` does."""
    for name in warehouse.list(TRIALS, ".json"):
        yield decode(name, warehouse.read(name))
