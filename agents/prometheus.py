"""The Prometheus text format, as far as a scrape needs it: sample values summed by metric name."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{.*\})?\s+(\S+)(?:\s+-?\d+)?\s*$")


def summed(text: str) -> dict[str, float]:
    """Return the sum over label sets of every metric; lines that are no sample are passed over."""
    totals: dict[str, float] = {}
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:
            continue
        try:
            value = float(found[2])
        except ValueError:
            continue
        totals[found[1]] = totals.get(found[1], 0.0) + value
    return totals
