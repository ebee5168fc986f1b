"""Environments of the engines: each in its own, made on first use from a pinned set, or prepared by the user."""

from __future__ import annotations

from joulemark.agents.environments.make import ensure_environment, ensure_set
from joulemark.agents.environments.prepared import installed_versions, use_environment
from joulemark.agents.environments.sets import RequirementSet, known_sets, load_set

__all__ = [
    "RequirementSet",
    "ensure_environment",
    "ensure_set",
    "installed_versions",
    "known_sets",
    "load_set",
    "use_environment",
]
