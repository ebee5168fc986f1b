"""What all tests share."""

from __future__ import annotations

import os

from joulemark.agents.machine import VARIABLE

# Two runs of the tests on one machine do not wait for each other: nobody reads their figures.
os.environ.setdefault(VARIABLE, f"tests-{os.getpid()}")
