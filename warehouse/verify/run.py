"""All known answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from joulemark.warehouse.verify.case import Case
from joulemark.warehouse.verify.faults import fault_cases
from joulemark.warehouse.verify.reference import reference_cases
from joulemark.warehouse.verify.shares import share_cases
from joulemark.warehouse.verify.synthetic import additive_cases, counter_cases, gain_cases, integral_cases

FAMILIES = (counter_cases, integral_cases, gain_cases, additive_cases, fault_cases, share_cases)


def cases(reference: Path | None = None) -> Iterator[Case]:
    """Yield every case; with ``reference`` also those of the measurements in that folder. Raises BadInput there."""
    for family in FAMILIES:
        yield from family()
    if reference is not None:
        yield from reference_cases(reference)
