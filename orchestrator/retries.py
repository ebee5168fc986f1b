"""Which failures are tried again in the same run, and how often."""

from __future__ import annotations

from joulemark.warehouse.schema.reasons import FAILURE_CLASSES

ATTEMPTS = 3
"""Attempts of one trial in one run, the first included."""
WORTH_A_RETRY = frozenset(
    {
        "sample_gap",
        "edge_not_bracketed",
        "counter_reset",
        "counter_disagrees",
        "device_missing",
        "no_power",
        "not_steady",
        "client_bound",
        "window_too_short",
        "throttled_thermal",
        "requests_failed",
        "foreign_process",
        "clock_uncertain",
    }
)
"""Reasons that another attempt may not have. What is not here would come again."""


def again(failure_class: str | None, reasons: tuple[str, ...], attempts_made: int) -> bool:
    """Return whether a trial that failed, or that is invalid for ``reasons``, is tried once more."""
    if attempts_made >= ATTEMPTS:
        return False
    if failure_class is not None:
        return FAILURE_CLASSES[failure_class][1]
    return bool(reasons) and set(reasons) <= WORTH_A_RETRY
