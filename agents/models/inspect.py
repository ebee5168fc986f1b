"""A look at a model folder before an engine is given it: whole files, and tensors of the shapes that it announces.

Engines find most of this too, later and in other words. Not all: vLLM reads the corner of a weight that is larger than
its configuration says, and serves.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemark.warehouse.errors import EngineError

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own library."""
_SHAPES = {
    "model.embed_tokens.weight": ("vocab_size", "hidden_size"),
    "model.layers.0.mlp.down_proj.weight": ("hidden_size", "intermediate_size"),
    "model.norm.weight": ("hidden_size",),
}
"""Tensors that many architectures have under these names, and the keys of config.json that say their shape."""


def check_folder(folder: Path) -> None:
    """Raise EngineError (``bad_checkpoint``) where the safetensors files below ``folder`` cannot be what it announces.

    Folders without such files, and names that are not known, are left to the engine.
    """
    for name in _wanted(folder):
        if not (folder / name).is_file():
            raise _bad(folder, f"{name} is missing, which model.safetensors.index.json names: fetch the model again")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.safetensors")):
        tensors = _header(folder, path)
        if "quantization_config" not in config:
            _check_shapes(folder, tensors, config)


def _wanted(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        return sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _bad(folder, f"{index.name} cannot be read: fetch the model again") from None


def _header(folder: Path, path: Path) -> dict[str, Any]:
    """Return what a safetensors file says that it holds. Its size must agree."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1
        if length > min(LARGEST_HEADER, size):
            raise _bad(folder, f"{path.name} is no safetensors file: fetch the model again")
        try:
            header = json.loads(file.read(length))
            end = max((int(t["data_offsets"][1]) for n, t in header.items() if n != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _bad(folder, f"{path.name} has no header that can be read: fetch the model again") from None
    if size != len(start) + length + end:
        what = "is cut off" if size < len(start) + length + end else "holds more than it says"
        raise _bad(folder, f"{path.name} {what} ({size} bytes of {len(start) + length + end}): fetch the model again")
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def _check_shapes(folder: Path, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    for name, keys in _SHAPES.items():
        announced = [config.get(key) for key in keys]
        if name not in tensors or not all(isinstance(size, int) for size in announced):
            continue
        found = tensors[name].get("shape")
        if found != announced:
            raise _bad(
                folder, f"{name} is {_by(found)}, and config.json says {_by(announced)}: they do not belong together"
            )


def _by(shape: Any) -> str:
    return " x ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _bad(folder: Path, what: str) -> EngineError:
    return EngineError(f"model {folder}: {what}", "bad_checkpoint")
