"""The sweep file: what a user asks to have measured."""

from joulemark.workloads.sweep.model import Sweep
from joulemark.workloads.sweep.read import load_sweep, parse_sweep

__all__ = ["Sweep", "load_sweep", "parse_sweep"]
