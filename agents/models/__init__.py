"""Models as engines want them on disk: generated ones are made here, others are found and checked."""

from __future__ import annotations

from joulemark.agents.models.prepare import prepare_model

__all__ = ["prepare_model"]
