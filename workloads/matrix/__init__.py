"""From a sweep to its cells."""

from joulemark.workloads.matrix.expand import Expansion, describe, expand

__all__ = ["Expansion", "describe", "expand"]
