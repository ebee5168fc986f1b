"""When requests are due in an open loop: seconds from the load's begin, never decreasing, from the seeds alone.

The processes are renewal processes: gaps are drawn independently with mean 1 and scaled. A schedule whose rate changes
stretches the same unit process by the inverse of the cumulative rate, which for exponential gaps is the
non-homogeneous Poisson process (Cinlar, Introduction to Stochastic Processes, 1975).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic.draws import Floats, Purpose, Seeds
from joulemark.workloads.workload import Arrivals, Stretch

BLOCK = 4096
"""Arrivals that are drawn at a time."""


class Schedule(Protocol):
    """When conversations are due."""

    @property
    def steady(self) -> bool:
        """Whether the rate is meant to stay the same."""

    @property
    def duration_s(self) -> float | None:
        """Its length in seconds; None where it has no end."""

    def due_s(self) -> Iterator[float]:
        """Yield when conversation 0, 1, 2, ... is due, in seconds."""

    def at_rate(self, rate_per_s: float) -> Schedule:
        """Return the same at another mean rate. Raises BadInput where it is not steady."""


@dataclass(frozen=True)
class Renewal:
    """Independent gaps at one rate (requests/s; None where it is not known yet), for ever."""

    process: str
    rate_per_s: float | None
    burstiness: float
    seeds: Seeds

    steady = True
    duration_s = None

    def due_s(self) -> Iterator[float]:
        """Yield the due times. Raises BadInput where no rate is known."""
        if self.rate_per_s is None:
            raise BadInput("no rate is known yet: it follows from the highest sustained throughput")
        for block in _unit_times(self.process, self.burstiness, self.seeds):
            yield from (block / self.rate_per_s).tolist()

    def at_rate(self, rate_per_s: float) -> Renewal:
        """Return the same gaps in another scale."""
        return replace(self, rate_per_s=rate_per_s)


@dataclass(frozen=True)
class Programme:
    """Gaps drawn for rate 1 and laid out along a rate that changes, stretch after stretch."""

    process: str
    burstiness: float
    stretches: tuple[Stretch, ...]
    seeds: Seeds

    steady = False

    @property
    def duration_s(self) -> float:
        """Return the length of all stretches."""
        return math.fsum(s.duration_s for s in self.stretches)

    def due_s(self) -> Iterator[float]:
        """Yield the due times until the last stretch ends."""
        begun_s, begun = 0.0, 0.0
        blocks = _unit_times(self.process, self.burstiness, self.seeds)
        times = next(blocks)
        for stretch in self.stretches:
            expected = (stretch.from_per_s + stretch.to_per_s) / 2 * stretch.duration_s
            while True:
                inside = times[: int(np.searchsorted(times, begun + expected))]
                yield from (begun_s + _seconds_until(stretch, inside - begun)).tolist()
                times = times[len(inside) :]
                if len(times):
                    break
                times = next(blocks)
            begun_s += stretch.duration_s
            begun += expected

    def at_rate(self, rate_per_s: float) -> Schedule:
        """Raise BadInput."""
        raise BadInput(f"a schedule whose rate changes has no one rate of {rate_per_s:g}/s")


@dataclass(frozen=True)
class Replay:
    """Recorded times, in seconds from the begin of the replayed part."""

    times_s: Floats
    length_s: float

    steady = False

    @property
    def duration_s(self) -> float:
        """Return the length of the replayed part."""
        return self.length_s

    def due_s(self) -> Iterator[float]:
        """Yield the recorded times."""
        yield from self.times_s.tolist()

    def at_rate(self, rate_per_s: float) -> Schedule:
        """Raise BadInput."""
        raise BadInput(f"a trace has times of its own, not a rate of {rate_per_s:g}/s: use its speed")


def schedule(arrivals: Arrivals, seeds: Seeds) -> Schedule:
    """Return the schedule of constant, Poisson and gamma arrivals."""
    # A search at other rates takes the same gaps.
    fixed = replace(seeds, phase=0)
    shape = 1.0 if arrivals.burstiness is None else arrivals.burstiness
    if arrivals.stretches:
        return Programme(arrivals.process, shape, arrivals.stretches, fixed)
    return Renewal(arrivals.process, arrivals.rate_per_s, shape, fixed)


def stagger_offsets(concurrency: int, spread_s: float) -> list[float]:
    """Return the seconds after which each of ``concurrency`` streams sends its first request.

    They lie evenly over ``spread_s``, so that requests of equal length do not march in step.
    """
    return [spread_s * stream / concurrency for stream in range(concurrency)]


def _unit_times(process: str, shape: float, seeds: Seeds) -> Iterator[Floats]:
    """Yield blocks of arrival times at rate 1, for ever. Constant arrivals begin at 0, others after a gap."""
    reached, number = 0.0, 0
    while True:
        if process == "constant":
            yield np.arange(number * BLOCK, (number + 1) * BLOCK, dtype=np.float64)
        else:
            times = reached + np.cumsum(_gaps(process, shape, seeds.uniforms(Purpose.ARRIVALS, number, BLOCK)))
            reached = float(times[-1])
            yield times
        number += 1


def _gaps(process: str, shape: float, uniforms: Floats) -> Floats:
    """Return gaps with mean 1: the inverse of their distribution function at ``uniforms``."""
    if process == "poisson" or shape == 1:
        return -np.log(uniforms)
    # Loaded here, since it takes a tenth of a second and only bursty traffic needs it.
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(shape, uniforms), dtype=np.float64) / shape


def _seconds_until(stretch: Stretch, expected: Floats) -> Floats:
    """Return after how many seconds of ``stretch`` so many arrivals are expected.

    The root of ``a t + (b - a) / (2 d) t^2 = x`` in the form that loses no digits where the rate stays the same.
    """
    slope = (stretch.to_per_s - stretch.from_per_s) / stretch.duration_s
    root = stretch.from_per_s + np.sqrt(np.maximum(0.0, stretch.from_per_s**2 + 2 * slope * expected))
    return np.divide(2 * expected, root, out=np.zeros_like(expected), where=root > 0)
