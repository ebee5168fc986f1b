"""The models that joulemark knows by name: the generated presets and ``catalogue.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from joulemark.workloads.document import parse_document
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.models.generated import PRESETS, generated_config


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue. ``checkpoints`` maps a precision to the hub id of weights published in it.

    ``published`` holds what its makers say of total and active parameters, as catalogue.yaml describes.
    """

    name: str
    source: str
    location: str
    facts: ModelFacts
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)


@cache
def catalogue() -> dict[str, Entry]:
    """Return all known models by name, generated ones first."""
    text = files("joulemark.workloads.models").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    known = {name: Entry(name, "generated", name, facts_from_config(generated_config(name))) for name in PRESETS}
    for name, fields in parse_document(text, "catalogue.yaml").plain().items():
        facts = facts_from_config(fields["config"])
        known[name] = Entry(name, "hub", fields["hub"], facts, fields["checkpoints"], fields["published"])
    return known


@cache
def names_by_hub_id() -> dict[str, str]:
    """Return catalogue names by the lower-case hub id that they stand for."""
    return {entry.location.lower(): name for name, entry in catalogue().items() if entry.source == "hub"}
