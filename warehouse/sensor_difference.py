"""How far the sensors themselves may make two cells look different.

A sensor's gain is common to all that was measured on a device: between two cells on the same devices it cancels, and
between cells on different devices it does not. Its offset weighs more the less power a cell draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulemark.warehouse.query.open import Connection

_SENSORS = """
WITH of_trial AS (
  SELECT
    c.trial,
    list((c.node, c.device, c.meter)) AS sensors,
    CASE WHEN bool_and(c.gain_fraction IS NOT NULL)
      THEN sum(c.energy_j * c.gain_fraction) / sum(c.energy_j) END AS gain,
    CASE WHEN bool_and(c.offset_w IS NOT NULL) THEN sum(c.offset_w * c.seconds) / sum(c.energy_j) END AS bias
  FROM trial_components AS c
  JOIN trial_results AS r ON r.trial = c.trial AND r.boundary = c.boundary
  WHERE r.valid AND c."interval" = 'window' AND r.cell = ? AND r.boundary = ? AND r.fidelity = ?
  GROUP BY c.trial
)
SELECT
  list_sort(list_distinct(flatten(list(sensors)))) AS sensors,
  CASE WHEN bool_and(gain IS NOT NULL) THEN max(gain) END AS gain,
  CASE WHEN bool_and(bias IS NOT NULL) THEN max(bias) END AS bias
FROM of_trial
"""


@dataclass(frozen=True)
class SensorDifference:
    """``factor`` is what the ratio of two cells may be off by, either way; None where a sensor's error is not known."""

    same_sensors: bool
    factor: float | None

    def could_make(self, ratio: float) -> bool | None:
        """Return whether the sensors alone could make this ratio; None where that is not known."""
        return None if self.factor is None else max(ratio, 1 / ratio) <= self.factor

    def sentence(self, ratio: float) -> str:
        """Say it in words."""
        where = "on the same sensors, whose gain cancels" if self.same_sensors else "on different sensors"
        if self.factor is None:
            return f"measured {where}" + ("" if self.same_sensors else ", whose errors are not known")
        verdict = "could make" if self.could_make(ratio) else "cannot make"
        return f"measured {where}: their own errors {verdict} this difference (up to {self.factor - 1:.1%})"


def sensor_difference(connection: Connection, cells: tuple[str, str], place: tuple[str, str]) -> SensorDifference:
    """Return what the sensors may do to the ratio of two cells with valid trials in a boundary and fidelity."""
    a, b = (connection.duckdb.sql(_SENSORS, params=[c, *place]).to_arrow_table().to_pylist()[0] for c in cells)
    same = a["sensors"] == b["sensors"]
    if None in (a["gain"], a["bias"], b["gain"], b["bias"]):
        return SensorDifference(same, None)
    if same:
        apart = (math.log1p(sign * a["bias"]) - math.log1p(sign * b["bias"]) for sign in (1, -1))
        return SensorDifference(same, math.exp(max(map(abs, apart))))
    whole_a, whole_b = a["gain"] + a["bias"], b["gain"] + b["bias"]
    lowest = 1 - max(whole_a, whole_b)
    factor = max((1 + whole_a) / (1 - whole_b), (1 + whole_b) / (1 - whole_a)) if lowest > 0 else math.inf
    return SensorDifference(same, factor)
