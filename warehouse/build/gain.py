"""What a sensor's gain and offset may be off by: common to everything measured with it, and so apart from the rest.

It does not blur a comparison of two figures of one device, and does count between devices and kinds of sensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize, special

MEASURED = frozenset({"counter", "sampled"})


@dataclass(frozen=True)
class SensorBound:
    """Bounds of a kind of sensor: ``gain_fraction`` of the energy, ``offset_w``. Each has its source beside it."""

    gain_fraction: float
    offset_w: float


GPU_SENSOR = SensorBound(0.05, 5.0)
"""NVIDIA boards. Gain: up to 5 % against external meters, over 70 boards (Yang, Adamek, Armour: Accurate and convenient
energy measurements for GPUs, SC 2024). Offset: within 5 W, as NVIDIA states for the board's power reading."""


def sensor_bound(scope: str, fidelity: str) -> SensorBound | None:
    """Return the bounds of the sensors that give this scope and fidelity; None where no source is known."""
    if scope.startswith("gpu_") and fidelity in MEASURED:
        return GPU_SENSOR
    return None


def with_gain_j(energy_j: float, seconds: float, uncertainty_j: float, bound: SensorBound) -> float:
    """Return the half width at 95 % of gain, offset and everything else together.

    Gain and offset lie anywhere within their bounds (uniform), the rest is normal with 95 % inside ``uncertainty_j``.
    """
    widest = abs(energy_j) * bound.gain_fraction, bound.offset_w * seconds
    whole = sum(widest) + 3 * uncertainty_j
    if whole <= 0:
        return 0.0
    # No part is exactly nothing: the closed form divides by each.
    gain_j, offset_j = (max(w, 1e-4 * whole) for w in widest)
    sigma_j = max(uncertainty_j / 1.96, 1e-4 * whole)

    def outside(half_j: float) -> float:
        corners = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
        inside = sum(s * _twice(half_j + a * gain_j + b * offset_j, sigma_j) for a, b, s in corners)
        return 2 * (1 - inside / (4 * gain_j * offset_j)) - 0.05

    return float(optimize.brentq(outside, 0.0, 2 * whole, xtol=1e-6 * whole))


def _twice(x: float, sigma: float) -> float:
    """Return the second integral of the normal distribution function with that standard deviation."""
    z = x / sigma
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(((x * x + sigma * sigma) * special.ndtr(z) + x * sigma * density) / 2)
