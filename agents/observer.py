"""The observer effect: what the node's idle power is with the sampler and without it, by its own energy counters.

Stretches with and without a sampler take turns (without, with, with, without, ...), so that a drift of the machine
does not look like an effect. Without the sampler, counters are only read at both ends of a stretch.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from scipy.stats import t as student

from joulemark.agents.meters.meter import Channel, Meter
from joulemark.agents.meters.process_tree import process_cpu_ns
from joulemark.agents.sampler.process import SamplerProcess
from joulemark.agents.sampler.protocol import SamplerConfig
from joulemark.warehouse.errors import MeterError
from joulemark.warehouse.units import UJ_PER_J

STEP_S = 0.5
"""How long to wait at most for a counter's next step, which tells better when it held what."""
POLL_S = 0.01

Totals = dict[Channel, tuple[float, int]]
"""By channel: when on the monotonic clock in seconds, and how many microjoules."""


@dataclass(frozen=True)
class Effect:
    """Mean idle watts of one channel without and with the sampler. ``half_width_w`` is of the difference, at 95 %."""

    channel: Channel
    without_w: float
    with_w: float
    half_width_w: float

    @property
    def difference_w(self) -> float:
        """What the sampler adds."""
        return self.with_w - self.without_w


@dataclass(frozen=True)
class Observed:
    """The effect on every energy counter, and the sampler's CPU time as a share of one core."""

    effects: tuple[Effect, ...]
    cpu_share: float


def observe(meters: Sequence[Meter], stretch_s: float, pairs: int) -> Observed:
    """Measure for ``2 x pairs`` stretches. Raises MeterError where no meter counts energy or a counter fails."""
    if not _counts(meters):
        raise MeterError(
            "no meter of this machine counts energy, so the sampler's own power cannot be seen here "
            "(GPUs of Volta or newer do, and CPUs by RAPL where its files can be read)"
        )
    shares: list[float] = []
    powers = stretches(meters, stretch_s, pairs, lambda: _sampling(shares))
    return Observed(tuple(effect(c, *powers[c]) for c in powers), statistics.median(shares))


def stretches(
    meters: Sequence[Meter], stretch_s: float, pairs: int, sampling: Callable[[], AbstractContextManager[None]]
) -> dict[Channel, tuple[list[float], list[float]]]:
    """Return by channel the mean watts of each stretch without, and of each with, what ``sampling`` starts."""
    powers: dict[Channel, tuple[list[float], list[float]]] = {}
    for pair in range(pairs):
        for on in (False, True) if pair % 2 == 0 else (True, False):
            with sampling() if on else nullcontext():
                begin = _totals(meters)
                time.sleep(stretch_s)
                end = _totals(meters)
            for channel, (end_s, end_uj) in end.items():
                begin_s, begin_uj = begin.get(channel, (0.0, end_uj + 1))
                if end_uj < begin_uj:
                    raise MeterError(f"the counter of {channel.device} was reset or vanished; try again")
                watts = (end_uj - begin_uj) / UJ_PER_J / (end_s - begin_s)
                powers.setdefault(channel, ([], []))[on].append(watts)
    return powers


def effect(channel: Channel, without_w: Sequence[float], with_w: Sequence[float]) -> Effect:
    """Return the effect from the stretches of each kind, as pairs: Student's t over their differences."""
    differences = [b - a for a, b in zip(without_w, with_w, strict=True)]
    width = math.inf
    if len(differences) > 1:
        spread = statistics.stdev(differences) / math.sqrt(len(differences))
        width = float(student.ppf(0.975, len(differences) - 1)) * spread
    return Effect(channel, statistics.mean(without_w), statistics.mean(with_w), width)


def _counts(meters: Sequence[Meter]) -> list[Meter]:
    return [m for m in meters if any(r.energy_uj is not None and r.channel.fidelity == "counter" for r in m.read())]


def _totals(meters: Sequence[Meter]) -> Totals:
    """Return every counter at its next step, or as it is where that does not come."""
    first = _read(meters)
    at_step: Totals = {}
    deadline = time.monotonic() + STEP_S
    while len(at_step) < len(first) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        for channel, total in _read(meters).items():
            if channel in first and channel not in at_step and total[1] != first[channel][1]:
                at_step[channel] = total
    return first | at_step


def _read(meters: Sequence[Meter]) -> Totals:
    found: Totals = {}
    for meter in meters:
        begun = time.monotonic()
        readings = meter.read()
        at_s = (begun + time.monotonic()) / 2
        found |= {
            r.channel: (at_s, r.energy_uj)
            for r in readings
            if r.energy_uj is not None and r.channel.fidelity == "counter"
        }
    return found


@contextmanager
def _sampling(shares: list[float]) -> Iterator[None]:
    """Sample at the pace that a sampler finds for itself; its share of a core goes to ``shares``."""
    with tempfile.TemporaryDirectory() as spool:
        sampler = SamplerProcess(SamplerConfig("observer", spool, 0.1))
        sampler.start()
        try:
            begun_s, before_ns = time.monotonic(), process_cpu_ns(sampler.pid)
            yield
            after_ns = process_cpu_ns(sampler.pid)
            if before_ns is None or after_ns is None:
                raise MeterError("the sampler ended while it was observed; see what it said above")
            shares.append((after_ns - before_ns) / 1e9 / (time.monotonic() - begun_s))
        finally:
            sampler.stop()
