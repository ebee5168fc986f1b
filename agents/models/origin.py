"""Where weights on this node come from: their licence and commit as far as files tell, and a digest to know them by."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import yaml

from joulemark.workloads.cell import ModelRef

_SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})(?:/|$)")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
EDGE_BYTES = 1 << 20
"""How much of the begin and of the end of each file of weights is read: all of them could be hundreds of gigabytes."""
_DIGESTED = ("config.json", "*.safetensors", "*.gguf", "*.bin")
_CARD_BYTES = 1_000_000


def origin(model: ModelRef, loaded: str) -> dict[str, str]:
    """Return ``licence``, ``commit`` and ``digest`` of what an engine loads, each where it can be found out.

    ``loaded`` is a file, a folder, or the id of a model that the engine took from the hub.
    """
    place = Path(loaded)
    if not place.exists():
        found = _in_hub_cache(loaded, model.revision or "main")
        if found is None:
            return {}
        place = found
    commit = _SNAPSHOT.search(f"{place}/")
    said = {"licence": _licence(place), "commit": commit[1] if commit else None, "digest": _digest(place)}
    return {name: value for name, value in said.items() if value is not None}


def _in_hub_cache(hub_id: str, revision: str) -> Path | None:
    """Return the folder that the hub's client keeps a model in, None where it has none."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{hub_id.replace('/', '--')}"
    try:
        commit = (cache / "refs" / revision).read_text(encoding="ascii").strip()
    except OSError:
        commit = revision
    folder = cache / "snapshots" / commit
    return folder if folder.is_dir() else None


def _licence(place: Path) -> str | None:
    """Return what the model card beside the weights says."""
    card = (place if place.is_dir() else place.parent) / "README.md"
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            front = _FRONT.match(file.read(_CARD_BYTES))
        fields = yaml.safe_load(front[1]) if front else None
    except (OSError, yaml.YAMLError):
        return None
    if not isinstance(fields, dict):
        return None
    named, licence = fields.get("license_name"), fields.get("license")
    said = named if licence == "other" and named else licence
    return str(said)[:100] if isinstance(said, str) else None


def _digest(place: Path) -> str | None:
    """Return a digest over names, sizes, begins and ends of the files of weights, and over the configuration."""
    files = [place] if place.is_file() else sorted({path for name in _DIGESTED for path in place.glob(name)})
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        # A file is known by any name; those of a folder are told apart by theirs.
        digest.update(f"{path.name if place.is_dir() else ''} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(EDGE_BYTES, size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()[:32]
