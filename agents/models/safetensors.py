"""Writing safetensors files: a length, a JSON header that says where each tensor lies, and the tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from joulemark.agents.models.numbers import Array

_ALIGNMENT = 8


@dataclass(frozen=True)
class Stored:
    """A tensor as it is stored; ``kind`` is the format's name of its numbers, for example ``BF16``."""

    name: str
    kind: str
    values: Array


def write_safetensors(path: Path, stored: Sequence[Stored]) -> None:
    """Write ``stored`` to ``path``, in the order given."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for item in stored:
        begin, end = end, end + item.values.nbytes
        header[item.name] = {"dtype": item.kind, "shape": list(item.values.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for item in stored:
            _write_array(file, item.values)


def _write_array(file: BinaryIO, values: Array) -> None:
    file.write(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())
