"""From what a user calls a model to the model: the one place of the package that looks at files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemark.warehouse.errors import BadInput, UnknownModel
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.models.catalogue import Entry, catalogue, names_by_hub_id
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.nearest import suggestion

_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_PATH_STARTS = ("/", "./", "../", "~")


def resolve_model(name: str, base_folder: Path) -> tuple[ModelRef, ModelFacts | None]:
    """Return the model that ``name`` stands for, and its facts where they can be known.

    ``name`` is a catalogue name, a hub id (``org/name`` or ``org/name@revision``) or a path: one that begins with
    ``/``, ``./``, ``../`` or ``~``, or ends in ``.gguf``; relative ones start at ``base_folder``. The hub id of a
    catalogue model is that catalogue model. Facts are None for other hub ids, for GGUF files and for folders whose
    architecture is not one that can be counted. Raises UnknownModel for any other name or a path without a model.
    """
    if name.startswith(_PATH_STARTS) or name.endswith(".gguf"):
        return _local(name, base_folder)
    entry = catalogue().get(name)
    if entry is not None:
        return _known(entry, None), entry.facts
    match = _HUB_ID.fullmatch(name)
    if match is not None:
        return _hub(match["id"], match["revision"])
    hint = f"; write ./{name} for the folder of that name" if (base_folder / name).exists() else ""
    raise UnknownModel(
        f"no model is called {name!r}: {suggestion(name, catalogue(), count=3)}; "
        f"a hub id (org/name) or a path (./folder) also serves{hint}"
    )


def local_config(path: Path) -> dict[str, Any]:
    """Return the ``config.json`` of a model folder. Raises UnknownModel where there is none to read."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownModel(f"{path} holds no config.json: name the folder of a Hugging Face model") from None
    except (OSError, ValueError) as error:
        raise UnknownModel(f"{path / 'config.json'} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise UnknownModel(f"{path / 'config.json'} is not the configuration of a model")
    return config


def _known(entry: Entry, revision: str | None) -> ModelRef:
    weights = "generated" if entry.source == "generated" else "real"
    return ModelRef(entry.name, entry.source, entry.location, revision, weights)


def _hub(hub_id: str, revision: str | None) -> tuple[ModelRef, ModelFacts | None]:
    name = names_by_hub_id().get(hub_id.lower())
    if name is None:
        return ModelRef(hub_id, "hub", hub_id, revision), None
    entry = catalogue()[name]
    return _known(entry, revision), entry.facts


def _local(name: str, base_folder: Path) -> tuple[ModelRef, ModelFacts | None]:
    path = (base_folder / Path(name).expanduser()).resolve()
    if not path.exists():
        raise UnknownModel(f"there is no model at {path}")
    if path.is_file():
        if path.suffix != ".gguf":
            raise UnknownModel(f"{path} is neither a model folder nor a .gguf file")
        return ModelRef(path.stem, "path", str(path)), None
    return ModelRef(path.name, "path", str(path)), _facts_or_none(local_config(path))


def _facts_or_none(config: Mapping[str, Any]) -> ModelFacts | None:
    """Facts are an extra: a model that cannot be counted can still be measured."""
    try:
        return facts_from_config(config)
    except BadInput:
        return None
