"""One draw of a simulated GPU: a load, its true energy in a window, and what a sampler reads of its sensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemark.warehouse.build.energy import Estimate, counter_energy, power_integral
from joulemark.warehouse.units import US_PER_S
from joulemark.warehouse.verify.loads import LOADS
from joulemark.warehouse.verify.signal import Instants, Sensor, Signal, polls_us

EPOCH_US = 1_760_000_000_000_000
BEFORE_S, AFTER_S = 15, 10
STEP_US = 100_000.0
MEAN_US = 1_000_000
LATEST_US = 25_000.0
"""How late a sensor may show what it saw."""


@dataclass(frozen=True)
class Draw:
    """A window from ``start_us`` to ``end_us`` of a load, and readings around it; ``mean_mw`` is of 1 s means."""

    load: Signal
    start_us: int
    end_us: int
    t_us: Instants
    power_mw: Instants
    energy_uj: Instants
    mean_mw: Instants
    sensor: Sensor

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.end_us - self.start_us) / US_PER_S

    @property
    def true_j(self) -> float:
        """The energy that the load really took in the window."""
        return self.load.energy_j(self.start_us, self.end_us)

    def estimates(self) -> dict[str, Estimate]:
        """Return what joulemark makes of the readings, by method."""
        edges = self.start_us, self.end_us
        return {
            "counter": counter_energy(self.t_us, self.energy_uj, *edges),
            "integral": power_integral(self.t_us, self.power_mw, *edges),
            "integral of 1 s means": power_integral(self.t_us, self.mean_mw, *edges, averaging_us=MEAN_US),
        }


def draw(kind: str, seconds: float, number: int, *, gain: float = 0.0, offset_w: float = 0.0) -> Draw:
    """Return draw ``number``: random load, phases of load, sensor, polls and window, and the sensor's lag.

    Steps of 100 ms with 1 ms of jitter, instant power over 25 ms of them, polls every 30 to 50 ms.
    """
    random = np.random.default_rng([number, int(seconds * 1000), *kind.encode()])
    span = EPOCH_US, EPOCH_US + int((BEFORE_S + seconds + AFTER_S) * US_PER_S)
    load = LOADS[kind](random, span[0] - 2 * US_PER_S, span[1] + US_PER_S)
    t_us = polls_us(*span, random.uniform(30e3, 50e3), jitter_us=500, seed=number)
    phase_us, lag_us = random.uniform(0, STEP_US), random.uniform(0, LATEST_US)
    sensor = Sensor(STEP_US, 0.25 * STEP_US, phase_us, lag_us, gain, offset_w, jitter_us=1_000)
    power_mw, energy_uj = sensor.read(load, t_us, number)
    mean_mw, _ = Sensor(STEP_US, MEAN_US, phase_us, lag_us, gain, offset_w, jitter_us=1_000).read(load, t_us, number)
    start_us = EPOCH_US + BEFORE_S * US_PER_S + int(random.uniform(0, US_PER_S))
    # Not a whole number of steps: a counter's errors at both edges would be the same, and cancel.
    end_us = start_us + int(seconds * US_PER_S + random.uniform(-STEP_US, STEP_US) / 2)
    return Draw(load, start_us, end_us, t_us, power_mw, energy_uj, mean_mw, sensor)
