"""From a sweep to its cells."""

from joulemark.workloads.compatibility import Place
from joulemark.workloads.matrix.expand import Expansion, Omission, describe, expand

__all__ = ["Expansion", "Omission", "Place", "describe", "expand"]
