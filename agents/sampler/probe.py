"""A meter is characterised by reading it often for a second or two and looking at what changes when."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulemark.agents.meters.meter import Reading
from joulemark.agents.sampler.cadence import read_intervals_s, update_period_s
from joulemark.agents.sampler.protocol import Timing

FASTEST_S = 0.004
SLOWEST_S = 0.25
SHARE_OF_TIME = 0.25
"""A meter is not read for longer than this share of the time, so that it does not hold up the others."""
RECENT = 5
"""One read of these that was not interrupted says what a read takes."""
ENOUGH_S, AT_MOST_S = 1.0, 2.0
CHANGES_ENOUGH = 5

Key = tuple[str, str, str]
"""Device, scope, and which of its two numbers."""


@dataclass
class Series:
    """The values that one number took."""

    instants_s: list[float] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    changes: int = 0

    def add(self, instant_s: float, value: int) -> None:
        """Take the next value."""
        self.changes += bool(self.values) and value != self.values[-1]
        self.instants_s.append(instant_s)
        self.values.append(value)


@dataclass
class Probe:
    """The burst of reads of one meter. ``interval_s`` is when to read it next, which slows down while reads fail."""

    interval_s: float = FASTEST_S
    fails_below_s: float | None = None
    durations_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    series: dict[Key, Series] = field(default_factory=dict)
    _quickest_s: float = FASTEST_S
    _always_missing: int = 0
    _suspected_s: float | None = None

    def add(self, instant_s: float, duration_s: float, cpu_s: float, readings: Sequence[Reading]) -> None:
        """Take one read of the meter."""
        self.durations_s.append(duration_s)
        self.cpu_s.append(cpu_s)
        for reading in readings:
            for number, value in (("energy", reading.energy_uj), ("power", reading.power_mw)):
                if value is not None:
                    key = (reading.channel.device, reading.channel.scope, number)
                    self.series.setdefault(key, Series()).add(instant_s, value)
        if len(self.durations_s) > 1:
            self._pace(sum(r.energy_uj is None and r.power_mw is None for r in readings))

    def enough(self, elapsed_s: float) -> bool:
        """Return whether more reads would not tell more."""
        seen = all(s.changes >= CHANGES_ENOUGH for s in self.series.values())
        return elapsed_s >= AT_MOST_S or (elapsed_s >= ENOUGH_S and seen)

    def periods_s(self, number: str) -> dict[str, float]:
        """Return by scope the median update period over its devices."""
        by_scope: dict[str, list[float]] = {}
        for (_, scope, which), series in self.series.items():
            period_s = update_period_s(series.instants_s, series.values) if which == number else None
            if period_s is not None:
                by_scope.setdefault(scope, []).append(period_s)
        return {scope: statistics.median(periods) for scope, periods in by_scope.items()}

    def _pace(self, missing: int) -> None:
        failed = missing > self._always_missing
        if self._suspected_s is not None:
            # It failed at this interval and gave readings at twice of it: now it shows whether that was chance.
            if failed:
                self.fails_below_s = self._quickest_s = self._suspected_s
            self.interval_s, self._suspected_s = self._quickest_s, None
        elif failed and self.interval_s < SLOWEST_S:
            self.interval_s *= 2
        elif failed:
            # Slower reads do not help: something is missing for good.
            self._always_missing, self.interval_s = missing, self._quickest_s
        elif self.interval_s > self._quickest_s:
            self._suspected_s, self.interval_s = self.interval_s, self.interval_s / 2
        else:
            affordable_s = min(min(self.durations_s[-RECENT:]) / SHARE_OF_TIME, SLOWEST_S)
            self.interval_s = self._quickest_s = max(affordable_s, self._quickest_s)


def timings(probes: Mapping[str, Probe], unknown_s: float) -> dict[str, Timing]:
    """Return what the probes of all meters say, and how often to read each."""
    energy = {name: probe.periods_s("energy") for name, probe in probes.items()}
    power = {name: probe.periods_s("power") for name, probe in probes.items()}
    updates = {name: min((*energy[name].values(), *power[name].values()), default=None) for name in probes}
    every = read_intervals_s(
        updates,
        {name: statistics.median(probe.cpu_s) for name, probe in probes.items()},
        {name: probe.fails_below_s for name, probe in probes.items()},
        unknown_s,
    )
    return {
        name: Timing(
            every_s=every[name],
            update_s=updates[name],
            energy_s=energy[name],
            power_s=power[name],
            resolution_s=probe.interval_s,
            read_us=statistics.median(probe.durations_s) * 1e6,
            read_cpu_us=statistics.median(probe.cpu_s) * 1e6,
            fails_below_s=probe.fails_below_s,
        )
        for name, probe in probes.items()
    }
