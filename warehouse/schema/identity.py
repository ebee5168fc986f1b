"""Identity: canonical JSON and the hashes that name cells, deployments and trials."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ID_LENGTH = 16


def canonical_json(value: Any) -> str:
    """Return the one JSON text for ``value``: sorted keys, no blanks, no NaN.

    A whole float is written as an integer, so that ``1`` and ``1.0`` name the same cell.
    """
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of the canonical JSON of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:ID_LENGTH]


def trial_id(cell: str, device_set: str, start: int, repeat: int, attempt: int) -> str:
    """Return the name of a trial; also the stem of its files."""
    return f"{cell}-{device_set[:6]}-s{start}r{repeat}a{attempt}"


def device_set_id(node: str, devices: tuple[str, ...]) -> str:
    """Return the name of one set of devices on one node (the order does not count)."""
    return content_id({"node": node, "devices": sorted(devices)})


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _normal(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
