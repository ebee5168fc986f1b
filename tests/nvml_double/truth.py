"""True power of the double's devices: the loads, and their energy in closed form.

All times are seconds since the double's epoch, times its speed; ``Double.at_s`` converts instants of the monotonic
clock. The formulas are those of ``load.c``, written a second time, and a test holds the two together.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

MASK = (1 << 64) - 1


class Load(Protocol):
    """True power over time."""

    @property
    def line(self) -> str:
        """What the double's file says."""

    def energy_j(self, t_s: float) -> float:
        """Return the energy from time 0 to ``t_s`` >= 0."""


@dataclass(frozen=True)
class Constant:
    """The same power always."""

    power_w: float

    @property
    def line(self) -> str:
        return f"constant {self.power_w!r}"

    def energy_j(self, t_s: float) -> float:
        return self.power_w * t_s


@dataclass(frozen=True)
class Square:
    """``high_w`` for the first ``duty`` of each period, then ``low_w``."""

    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5

    @property
    def line(self) -> str:
        return f"square {self.low_w!r} {self.high_w!r} {self.period_s!r} {self.duty!r}"

    def energy_j(self, t_s: float) -> float:
        on_s = self.period_s * self.duty
        cycles = math.floor(t_s / self.period_s)
        rest_s = t_s - cycles * self.period_s
        per_cycle_j = self.high_w * on_s + self.low_w * (self.period_s - on_s)
        return cycles * per_cycle_j + self.high_w * min(rest_s, on_s) + self.low_w * max(0.0, rest_s - on_s)


@dataclass(frozen=True)
class Ramp:
    """From ``low_w`` straight up to ``high_w`` in each period."""

    low_w: float
    high_w: float
    period_s: float

    @property
    def line(self) -> str:
        return f"ramp {self.low_w!r} {self.high_w!r} {self.period_s!r}"

    def energy_j(self, t_s: float) -> float:
        cycles = math.floor(t_s / self.period_s)
        rest_s = t_s - cycles * self.period_s
        rise_j = (self.high_w - self.low_w) * rest_s**2 / (2 * self.period_s)
        return cycles * self.period_s * (self.low_w + self.high_w) / 2 + self.low_w * rest_s + rise_j


@dataclass(frozen=True)
class Bursts:
    """``base_w``, and in each slot one burst of ``length_s`` to ``peak_w`` at a moment that ``seed`` draws."""

    base_w: float
    peak_w: float
    slot_s: float
    length_s: float
    seed: int = 1

    @property
    def line(self) -> str:
        return f"bursts {self.base_w!r} {self.peak_w!r} {self.slot_s!r} {self.length_s!r} {self.seed}"

    def energy_j(self, t_s: float) -> float:
        slot = math.floor(t_s / self.slot_s)
        start_s = _drawn(self.seed, slot) * (self.slot_s - self.length_s)
        inside_s = min(max(t_s - slot * self.slot_s - start_s, 0.0), self.length_s)
        return self.base_w * t_s + (self.peak_w - self.base_w) * (slot * self.length_s + inside_s)


@dataclass(frozen=True)
class Phases:
    """Pairs (seconds, watts), one after the other, over and over."""

    phases: tuple[tuple[float, float], ...]

    @property
    def line(self) -> str:
        return "phases " + " ".join(f"{s!r} {w!r}" for s, w in self.phases)

    def energy_j(self, t_s: float) -> float:
        length_s = sum(s for s, _ in self.phases)
        cycles = math.floor(t_s / length_s)
        rest_s = t_s - cycles * length_s
        total_j = cycles * sum(s * w for s, w in self.phases)
        for seconds, watts in self.phases:
            total_j += watts * min(rest_s, seconds)
            rest_s = max(0.0, rest_s - seconds)
        return total_j


@dataclass(frozen=True)
class Trace:
    """A recorded trace: CSV with a head line, columns t_ms,power_w; straight between points.

    Its first point is time 0. After its last it begins again (``loop``) or stays at the last power.
    """

    path: Path
    loop: bool = False

    @property
    def line(self) -> str:
        return f"trace {self.path}" + (" loop" if self.loop else "")

    def energy_j(self, t_s: float) -> float:
        times_s, powers_w, energies_j = self._points
        length_s = times_s[-1]
        if self.loop:
            cycles = math.floor(t_s / length_s)
            return cycles * energies_j[-1] + self._within_j(t_s - cycles * length_s)
        return self._within_j(min(t_s, length_s)) + max(0.0, t_s - length_s) * powers_w[-1]

    @cached_property
    def _points(self) -> tuple[list[float], list[float], list[float]]:
        """Times, power, and energy until then."""
        with self.path.open(newline="") as file:
            rows = [(float(r["t_ms"]) / 1e3, float(r["power_w"])) for r in csv.DictReader(file)]
        pieces_j = [(w0 + w1) / 2 * (t1 - t0) for (t0, w0), (t1, w1) in pairwise(rows)]
        times_s, powers_w = zip(*rows, strict=True)
        return [t - times_s[0] for t in times_s], list(powers_w), list(accumulate(pieces_j, initial=0.0))

    def _within_j(self, t_s: float) -> float:
        times_s, powers_w, energies_j = self._points
        after = min(max(1, bisect_right(times_s, t_s)), len(times_s) - 1)
        t0, t1, w0, w1 = times_s[after - 1], times_s[after], powers_w[after - 1], powers_w[after]
        w = w0 + (w1 - w0) * (t_s - t0) / (t1 - t0)
        return energies_j[after - 1] + (w0 + w) / 2 * (t_s - t0)


def _drawn(seed: int, slot: int) -> float:
    z = (seed * 0x9E3779B97F4A7C15 + (slot + 1) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    z ^= z >> 31
    return (z >> 11) * 2.0**-53


def true_energy_j(load: Load, start_s: float, end_s: float, shift_s: float = 0.0) -> float:
    """Return a load's energy between two times >= 0, before any gain or offset of a sensor."""
    if not 0 <= start_s <= end_s:
        raise ValueError(f"no interval of the double's time: {start_s} to {end_s} s")
    return load.energy_j(shift_s + end_s) - load.energy_j(shift_s + start_s)
