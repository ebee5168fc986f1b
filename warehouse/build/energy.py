"""Energy of one interval from one meter's readings, with its edge error and what speaks against it.

Pure numpy. Readings come without NULLs, strictly ascending in time; a run of NULLs is then a gap like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve, counter_curve, power_curve
from joulemark.warehouse.units import MW_PER_W, US_PER_S

Instants = NDArray[np.int64]

GAP_US = 3 * US_PER_S
GAP_PERIODS = 5


@dataclass(frozen=True)
class Estimate:
    """Energy of an interval, or None with the reason why the readings support no figure.

    ``uncertainty_j`` is the half width at 95 % of the edge error alone: half a step's energy at each of the two edges,
    taken as independent. ``coverage`` is the share of the interval between readings not too far apart, ``samples`` the
    readings inside it, ``peak_w`` the highest power reading in it (for a counter: mean power between two changes).
    """

    energy_j: float | None
    uncertainty_j: float | None
    coverage: float
    samples: int
    peak_w: float | None
    reasons: tuple[str, ...]


def counter_energy(t_us: Instants, energy_uj: Instants, start_us: int, end_us: int) -> Estimate:
    """Difference of a cumulative counter, its edges interpolated between changes of the counter.

    A counter that steps every 100 ms and is polled every 30 ms says nothing new between its steps.
    """
    curve, reset = counter_curve(t_us, energy_uj, start_us, end_us)
    limit_us = gap_limit_us(curve.t_us if len(curve.t_us) > 2 else t_us)
    reasons, coverage = _spacing(t_us, start_us, end_us, limit_us)
    if reset:
        reasons.append("counter_reset")
    if len(t_us) and not reset and curve.total_j == 0:
        reasons.append("no_power")
    return _estimate(curve, t_us, (start_us, end_us), limit_us, reasons, coverage)


def power_integral(t_us: Instants, power_mw: Instants, start_us: int, end_us: int) -> Estimate:
    """Trapezoid over power readings, interpolated at the edges; no figure where a gap lies inside."""
    limit_us = gap_limit_us(t_us)
    reasons, coverage = _spacing(t_us, start_us, end_us, limit_us)
    estimate = _estimate(power_curve(t_us, power_mw), t_us, (start_us, end_us), limit_us, reasons, coverage)
    inside = power_mw[(t_us >= start_us) & (t_us <= end_us)]
    peak_w = float(inside.max()) / MW_PER_W if len(inside) else None
    supported = "sample_gap" not in reasons
    return Estimate(
        estimate.energy_j if supported else None,
        estimate.uncertainty_j if supported else None,
        coverage,
        estimate.samples,
        peak_w,
        estimate.reasons,
    )


def gap_limit_us(t_us: Instants) -> float:
    """Return the longest distance of two readings that is no gap: max(3 s, 5 median update periods)."""
    if len(t_us) < 2:
        return float(GAP_US)
    return max(float(GAP_US), GAP_PERIODS * float(np.median(np.diff(t_us))))


def _spacing(t_us: Instants, start_us: int, end_us: int, limit_us: float) -> tuple[list[str], float]:
    """Return sample_gap and no_power as they apply, and the coverage."""
    if end_us <= start_us:
        raise ValueError(f"an interval from {start_us} to {end_us} us has no length")
    if not len(t_us):
        return ["no_power"], 0.0
    before, after = t_us[:-1], t_us[1:]
    overlap = np.minimum(after, end_us) - np.maximum(before, start_us)
    gaps = (after - before > limit_us) & (overlap > 0)
    outside = max(0, min(int(t_us[0]), end_us) - start_us) + max(0, end_us - max(int(t_us[-1]), start_us))
    uncovered = float(overlap[gaps].sum()) + min(outside, end_us - start_us)
    return (["sample_gap"] if gaps.any() else []), 1.0 - uncovered / (end_us - start_us)


def _estimate(
    curve: Curve, t_us: Instants, interval: tuple[int, int], limit_us: float, reasons: list[str], coverage: float
) -> Estimate:
    start_us, end_us = interval
    samples = int(((t_us >= start_us) & (t_us <= end_us)).sum())
    bracketed = all(curve.brackets(edge, limit_us) for edge in interval)
    if len(t_us) and not bracketed and "counter_reset" not in reasons:
        reasons.append("edge_not_bracketed")
    peak_w = curve.peak_w(start_us, end_us)
    if not bracketed or {"counter_reset", "no_power"} & set(reasons):
        return Estimate(None, None, coverage, samples, peak_w, tuple(reasons))
    errors_j = [curve.step_j(edge) / 2 for edge in interval]
    return Estimate(curve.between_j(start_us, end_us), math.hypot(*errors_j), coverage, samples, peak_w, tuple(reasons))
