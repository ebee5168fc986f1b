"""The models that joulemark knows by name: the generated presets and ``catalogue.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from joulemark.workloads.cell import Deployment, ModelRef
from joulemark.workloads.document import parse_document
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.models.generated import PRESETS, generated_config
from joulemark.workloads.precision import QUANTIZATIONS, is_a


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
    licence: str | None = None
    """SPDX identifier, or the name that its makers give it; None for what has none."""
    config: Mapping[str, Any] = field(default_factory=dict)


@cache
def catalogue() -> dict[str, Entry]:
    """Return all known models by name, generated ones first."""
    text = files("joulemark.workloads.models").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    known = {name: _generated(name) for name in PRESETS}
    for name, fields in parse_document(text, "catalogue.yaml").plain().items():
        facts, licence = facts_from_config(fields["config"]), fields["licence"]
        checkpoints, published = fields["checkpoints"], fields["published"]
        known[name] = Entry(name, "hub", fields["hub"], facts, checkpoints, published, licence, fields["config"])
    return known


@cache
def names_by_hub_id() -> dict[str, str]:
    """Return catalogue names by the lower-case hub id that they stand for."""
    return {entry.location.lower(): name for name, entry in catalogue().items() if entry.source == "hub"}


def needs_no_hub(model: ModelRef) -> bool:
    """Return whether a model of the hub is served without the hub: dummy weights of a configuration that is known.

    A revision that the user names is fetched, since its configuration may be another one.
    """
    return model.source == "hub" and model.weights == "dummy" and model.revision is None and model.name in catalogue()


def stored_precision(deployment: Deployment) -> str:
    """Return the precision in which the weights lie on disk, as far as the catalogue tells: ``fp8-block`` for ``fp8``.

    Where the engine makes another one of them while loading, it is the one before.
    """
    model, asked = deployment.model, deployment.quantization
    needs = QUANTIZATIONS[asked].engines.get(deployment.engine.name)
    if needs is not None and needs.online is not None and deployment.engine.args.get("quantization") == needs.online:
        return "bf16"
    entry = catalogue().get(model.name)
    listed = [q for q, location in entry.checkpoints.items() if location == model.location] if entry else []
    return next((q for q in listed if is_a(q, asked)), asked)


def licence_of(model: str) -> str | None:
    """Return the licence of a model of the catalogue; None for one that is not in it, or has none."""
    entry = catalogue().get(model)
    return entry.licence if entry is not None else None


def _generated(name: str) -> Entry:
    config = generated_config(name)
    return Entry(name, "generated", name, facts_from_config(config), config=config)
