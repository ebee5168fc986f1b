"""How often to read a meter: from what its readings show of its update period, and from what a read costs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

TIMES_FASTER = 2.618
"""An edge of a window is then known to within two fifths of a step. No simple ratio: reads that march in step with the
meter come equally late after each of its steps, and tell together no more than one of them.
"""
FASTEST_S, SLOWEST_S = 1 / 30, 1 / 2
COST_AT_MOST = 0.01
"""Share of one core that all reads together may take."""


def update_period_s(instants_s: Sequence[float], values: Sequence[int]) -> float | None:
    """Return the interval at which a reading is renewed; None where it was renewed less than three times.

    A power reading may come out the same when it is renewed, so the gaps between changes are whole multiples of the
    period: their sum over the sum of the multiples, with the lower quartile of the gaps as the first guess.
    """
    # A change happened somewhere between two reads; its middle is off by half their distance at most.
    changes = [(instants_s[i - 1] + instants_s[i]) / 2 for i in range(1, len(values)) if values[i] != values[i - 1]]
    gaps = sorted(b - a for a, b in itertools.pairwise(changes))
    if len(gaps) < 2:
        return None
    guess_s = gaps[len(gaps) // 4]
    return sum(gaps) / sum(max(1, round(gap / guess_s)) for gap in gaps)


def read_intervals_s(
    updates_s: Mapping[str, float | None],
    read_cpu_s: Mapping[str, float],
    fails_below_s: Mapping[str, float | None],
    unknown_s: float,
) -> dict[str, float]:
    """Return the interval between reads of each meter, given its update period (None: unknown).

    ``TIMES_FASTER`` than it changes, between 2 and 30 times a second, slower where all reads together would cost more
    than ``COST_AT_MOST`` of a core; the cheap meters keep their pace then. Never faster than it can be read.
    """
    wanted = {
        name: min(max(unknown_s if update_s is None else update_s / TIMES_FASTER, FASTEST_S), SLOWEST_S)
        for name, update_s in updates_s.items()
    }
    intervals: dict[str, float] = {}
    left = COST_AT_MOST
    for place, name in enumerate(sorted(wanted, key=lambda n: read_cpu_s[n] / wanted[n])):
        share = left / (len(wanted) - place)
        affordable_s = read_cpu_s[name] / share if share > 0 else SLOWEST_S
        interval_s = min(max(wanted[name], affordable_s), SLOWEST_S)
        left = max(0.0, left - read_cpu_s[name] / interval_s)
        intervals[name] = max(interval_s, fails_below_s[name] or 0.0)
    return intervals
