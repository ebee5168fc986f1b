"""How power was spread over an interval: percentiles by time, and bursts above the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemark.warehouse.build.curve import Curve

BURST = 1.1
"""A burst is power this many times the interval's mean."""
PERCENTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class PowerShape:
    """Watts not exceeded for half, 90 % and 99 % of the time, and the share of the time in bursts."""

    p50_w: float
    p90_w: float
    p99_w: float
    burst_share: float


def power_shape(curve: Curve, start_us: int, end_us: int) -> PowerShape | None:
    """Return the shape between two instants, from mean powers between the curve's points; None where none is inside.

    A counter that steps ten times a second shows nothing shorter than its steps.
    """
    if len(curve.t_us) < 2:
        return None
    inside = np.flatnonzero((curve.t_us[:-1] >= start_us) & (curve.t_us[1:] <= end_us))
    if not len(inside):
        return None
    watts = curve.mean_powers_w()[inside]
    lengths = np.diff(curve.t_us)[inside].astype(np.float64)
    order = np.argsort(watts, kind="stable")
    # The share of the time below a power, at the middle of each piece.
    until = (np.cumsum(lengths[order]) - lengths[order] / 2) / lengths.sum()
    p50_w, p90_w, p99_w = (float(np.interp(p, until, watts[order])) for p in PERCENTILES)
    mean_w = float((watts * lengths).sum() / lengths.sum())
    return PowerShape(p50_w, p90_w, p99_w, float(lengths[watts > BURST * mean_w].sum() / lengths.sum()))
