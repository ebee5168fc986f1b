"""Signals of which the energy of any interval is known from a formula, and a sampler's readings of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemark.warehouse.units import US_PER_S
from joulemark.warehouse.verify.signal import Instants, Sensor, Signal, polls_us

EPOCH_US = 1_760_000_000_000_000
SPAN_S = 100.0
POLL_US = 37_000.0
START_US, END_US = EPOCH_US + 20_123_456, EPOCH_US + 80_765_432
"""The window that the known answers are given for: at no round number of steps or polls."""


@dataclass(frozen=True)
class Known:
    """A signal, and the energy of its window [J] by a formula of its own."""

    name: str
    signal: Signal
    energy_j: float


@dataclass(frozen=True)
class Readings:
    """What a sampler read of a signal."""

    t_us: Instants
    power_mw: Instants
    energy_uj: Instants


def readings(signal: Signal, *, gain: float = 0.0) -> Readings:
    """Return readings by a sensor with 100 ms steps of which it sees 25 ms, polled every 37 ms."""
    t_us = polls_us(EPOCH_US, EPOCH_US + int(SPAN_S * US_PER_S), POLL_US)
    power_mw, energy_uj = Sensor(gain=gain, phase_us=41_000).read(signal, t_us)
    return Readings(t_us, power_mw, energy_uj)


def steady() -> Known:
    """Return 300 W."""
    signal = Signal(_at(-1, SPAN_S + 1), np.array([300.0, 300.0]))
    return Known("steady 300 W", signal, 300 * _seconds())


def ramp() -> Known:
    """Return a ramp of 5 W a second from 100 W."""
    signal = Signal(_at(-1, SPAN_S + 1), np.array([95.0, 105 + 5 * SPAN_S]))
    first, last = (100 + 5 * (t - EPOCH_US) / US_PER_S for t in (START_US, END_US))
    return Known("ramp of 5 W/s", signal, (first + last) / 2 * _seconds())


def square() -> Known:
    """Return 500 W and 100 W, each for 1.7 s in turn."""
    return Known("square wave, 100 and 500 W, 3.4 s", _pulses(3.4, 1.7), _pulses_j(3.4, 1.7))


def bursts() -> Known:
    """Return bursts to 500 W of 0.23 s every 1.37 s, on 100 W."""
    return Known("bursts of 0.23 s every 1.37 s", _pulses(1.37, 0.23), _pulses_j(1.37, 0.23))


def all_known() -> tuple[Known, ...]:
    """Return all of them."""
    return steady(), ramp(), square(), bursts()


def _pulses(period_s: float, on_s: float) -> Signal:
    begins = np.arange(-2, SPAN_S / period_s + 2) * period_s
    edges_s = np.sort(np.concatenate((begins, begins + on_s)))
    return Signal.steps(_at(*edges_s), np.where(np.arange(len(edges_s) - 1) % 2, 100.0, 500.0))


def _pulses_j(period_s: float, on_s: float) -> float:
    """Return the window's energy: 100 W throughout, and 400 W more while a pulse is on."""

    def on_until_s(t_us: int) -> float:
        whole, part = divmod((t_us - EPOCH_US) / US_PER_S, period_s)
        return whole * on_s + min(part, on_s)

    return 100 * _seconds() + 400 * (on_until_s(END_US) - on_until_s(START_US))


def _seconds() -> float:
    return (END_US - START_US) / US_PER_S


def _at(*seconds: float) -> np.typing.NDArray[np.float64]:
    return EPOCH_US + np.array(seconds) * US_PER_S
