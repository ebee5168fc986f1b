"""Power over time whose energy is known exactly, and what a simulated sensor makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.units import MW_PER_W, UJ_PER_J, US_PER_S

Floats = NDArray[np.float64]
Instants = NDArray[np.int64]

UJ_PER_MJ = 1_000


@dataclass(frozen=True)
class Signal:
    """Power in watts at instants in microseconds, linear between them; an instant that is there twice is a step."""

    t_us: Floats
    power_w: Floats

    @classmethod
    def steps(cls, edges_us: Floats, power_w: Floats) -> Signal:
        """Return power that is constant between edges; there is one edge more than there are powers."""
        return cls(np.repeat(np.asarray(edges_us, np.float64), 2)[1:-1], np.repeat(np.asarray(power_w, np.float64), 2))

    def energy_j(self, start_us: float, end_us: float) -> float:
        """Return the exact energy between two instants."""
        start_j, end_j = self.since_begin_j(np.array([start_us, end_us], dtype=np.float64))
        return float(end_j - start_j)

    def since_begin_j(self, t_us: Floats) -> Floats:
        """Return the exact energy from the signal's begin to each instant."""
        widths_us = np.diff(self.t_us)
        pieces_j = (self.power_w[1:] + self.power_w[:-1]) / 2 * widths_us / US_PER_S
        cumulative_j = np.concatenate(([0.0], np.cumsum(pieces_j)))
        piece = np.clip(np.searchsorted(self.t_us, t_us, side="right") - 1, 0, len(widths_us) - 1)
        into_us = t_us - self.t_us[piece]
        slope = (self.power_w[piece + 1] - self.power_w[piece]) / np.maximum(widths_us[piece], 1e-9)
        energy_j = cumulative_j[piece] + (self.power_w[piece] + slope * into_us / 2) * into_us / US_PER_S
        return np.asarray(energy_j, dtype=np.float64)


@dataclass(frozen=True)
class Sensor:
    """A power sensor as GPUs have them: every ``step_us`` it looks at the last ``seen_us`` and shows their mean.

    Its counter holds the whole energy up to the last step. ``gain`` and ``offset_w`` are its errors, ``lag_us`` how
    late both come, ``jitter_us`` the standard deviation of the steps' instants.
    """

    step_us: float = 100_000
    seen_us: float = 25_000
    phase_us: float = 0.0
    lag_us: float = 0.0
    gain: float = 0.0
    offset_w: float = 0.0
    jitter_us: float = 0.0

    def read(self, signal: Signal, polls_us: Instants, seed: int = 0) -> tuple[Instants, Instants]:
        """Return the power in mW and the counter in uJ (in whole mJ) that polls at these instants give."""
        random = np.random.default_rng(seed)
        begin_us = float(polls_us[0]) - 3 * self.step_us + self.phase_us
        count = int((polls_us[-1] - begin_us) / self.step_us) + 2
        jitter = np.clip(random.normal(0, 1, count), -3, 3) * self.jitter_us
        steps_us = begin_us + np.arange(count) * self.step_us + jitter
        shown = np.searchsorted(steps_us, polls_us, side="right") - 1
        at_us = steps_us - self.lag_us
        upto_j = signal.since_begin_j(at_us)
        seen_w = (upto_j - signal.since_begin_j(at_us - self.seen_us)) / self.seen_us * US_PER_S
        power_mw = np.rint((seen_w * (1 + self.gain) + self.offset_w) * MW_PER_W).astype(np.int64)
        counted_j = upto_j * (1 + self.gain) + self.offset_w * (at_us - at_us[0]) / US_PER_S
        energy_uj = np.rint(counted_j * UJ_PER_J / UJ_PER_MJ).astype(np.int64) * UJ_PER_MJ
        return power_mw[shown], energy_uj[shown]


def polls_us(start_us: int, end_us: int, every_us: float, *, jitter_us: float = 0.0, seed: int = 0) -> Instants:
    """Return instants at which a sampler reads, at absolute deadlines and a little late each time."""
    random = np.random.default_rng(seed)
    at = np.arange(start_us, end_us, every_us)
    return np.unique(np.rint(at + np.abs(random.normal(0, 1, len(at))) * jitter_us).astype(np.int64))
