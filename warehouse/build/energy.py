"""Energy of one interval from one meter's readings, with its error budget and what speaks against it.

Pure numpy. Readings come without NULLs; a run of NULLs is then a gap like any other. Their order does not matter, nor
do readings that are there twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.budget import Budget, budget
from joulemark.warehouse.build.changes import in_order
from joulemark.warehouse.build.curve import Curve, counter_curve, power_curve
from joulemark.warehouse.build.power_shape import PowerShape, power_shape
from joulemark.warehouse.units import MW_PER_W, US_PER_S

Instants = NDArray[np.int64]

GAP_US = 3 * US_PER_S
GAP_PERIODS = 5


@dataclass(frozen=True)
class Estimate:
    """Energy of an interval and what it may be off by, or None with the reason why the readings support no figure.

    ``coverage`` is the share of the interval between readings not too far apart, ``samples`` the readings inside it,
    ``peak_w`` the highest power reading in it (for a counter: mean power between two changes), ``shape`` how power was
    spread over it.
    """

    energy_j: float | None
    budget: Budget | None
    coverage: float
    samples: int
    peak_w: float | None
    reasons: tuple[str, ...]
    shape: PowerShape | None = None

    @property
    def uncertainty_j(self) -> float | None:
        """Half width at 95 % without the sensor's gain error."""
        return self.budget.total_j if self.budget else None


def counter_energy(
    t_us: Instants,
    energy_uj: Instants,
    start_us: int,
    end_us: int,
    *,
    clock_us: float | None = 0.0,
    update_us: float | None = None,
) -> Estimate:
    """Difference of a cumulative counter, its edges interpolated between changes of the counter.

    A counter that steps every 100 ms and is polled every 30 ms says nothing new between its steps. ``clock_us`` is the
    uncertainty of the clock that the interval is given on; None: not known. ``update_us`` is how often the counter
    moves, where that was measured.
    """
    t_us, energy_uj = in_order(t_us, energy_uj)
    curve, reset = counter_curve(t_us, energy_uj, start_us, end_us, update_us)
    limit_us = gap_limit_us(curve.t_us if len(curve.t_us) > 2 else t_us)
    reasons, coverage = _spacing(t_us, start_us, end_us, limit_us)
    if reset:
        reasons.append("counter_reset")
    if len(t_us) and not reset and curve.total_j == 0:
        reasons.append("no_power")
    return _estimate(curve, t_us, (start_us, end_us), limit_us, reasons, coverage, clock_us)


def power_integral(
    t_us: Instants,
    power_mw: Instants,
    start_us: int,
    end_us: int,
    *,
    clock_us: float | None = 0.0,
    averaging_us: int = 0,
) -> Estimate:
    """Trapezoid over the updates of a power field, interpolated at the edges; no figure where a gap lies inside.

    ``averaging_us`` is given where the field is known to show a moving mean over so long a time.
    """
    t_us, power_mw = in_order(t_us, power_mw)
    limit_us = gap_limit_us(t_us)
    reasons, coverage = _spacing(t_us, start_us, end_us, limit_us)
    interval = (start_us, end_us)
    curve = power_curve(t_us, power_mw, averaging_us)
    estimate = _estimate(curve, t_us, interval, limit_us, reasons, coverage, clock_us)
    inside = power_mw[(t_us >= start_us) & (t_us <= end_us)]
    estimate = replace(estimate, peak_w=float(inside.max()) / MW_PER_W if len(inside) else None)
    return replace(estimate, energy_j=None, budget=None) if "sample_gap" in reasons else estimate


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
    curve: Curve,
    t_us: Instants,
    interval: tuple[int, int],
    limit_us: float,
    reasons: list[str],
    coverage: float,
    clock_us: float | None,
) -> Estimate:
    start_us, end_us = interval
    samples = int(((t_us >= start_us) & (t_us <= end_us)).sum())
    bracketed = all(curve.brackets(edge, limit_us) for edge in interval)
    if len(t_us) and not bracketed and "counter_reset" not in reasons:
        reasons.append("edge_not_bracketed")
    peak_w = None if "counter_reset" in reasons else curve.peak_w(start_us, end_us)
    if not bracketed or {"counter_reset", "no_power"} & set(reasons):
        return Estimate(None, None, coverage, samples, peak_w, tuple(reasons))
    parts = budget(curve, start_us, end_us, clock_us)
    shape = None if "sample_gap" in reasons else power_shape(curve, start_us, end_us)
    return Estimate(curve.between_j(start_us, end_us), parts, coverage, samples, peak_w, tuple(reasons), shape)
