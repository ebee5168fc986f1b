"""Loads for known answers: what a GPU under LLM serving draws, in kinds, with random phase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from joulemark.warehouse.verify.signal import Floats, Signal

GRAIN_US = 5_000


def steady(random: np.random.Generator, start_us: int, end_us: int) -> Signal:
    """Return a level with 2 % of noise that lasts about 30 ms: a batch that decodes."""
    edges_us = _edges(start_us, end_us, GRAIN_US)
    level_w = random.uniform(150, 700)
    noise = _autoregressive(random, len(edges_us) - 1, correlation=np.exp(-GRAIN_US / 30_000))
    return Signal.steps(edges_us, level_w * (1 + 0.02 * noise))


def bursty(random: np.random.Generator, start_us: int, end_us: int) -> Signal:
    """Return idle power with bursts of 20 to 400 ms at random instants: few requests at a time."""
    low_w, high_w = random.uniform(70, 130), random.uniform(300, 700)
    return _switching(
        random, (start_us, end_us), (low_w, high_w), lambda on: random.uniform(20e3, 400e3) * (1 if on else 2)
    )


def phases(random: np.random.Generator, start_us: int, end_us: int) -> Signal:
    """Return two levels that alternate every 0.3 to 3 s, with noise: prefill and decode of large batches."""
    low_w, high_w = random.uniform(250, 400), random.uniform(450, 700)
    switching = _switching(random, (start_us, end_us), (low_w, high_w), lambda _: random.uniform(0.3e6, 3e6))
    edges_us = _edges(start_us, end_us, GRAIN_US)
    noise = _autoregressive(random, len(edges_us) - 1, correlation=np.exp(-GRAIN_US / 30_000))
    level_w = np.diff(switching.since_begin_j(edges_us)) / GRAIN_US * 1e6
    return Signal.steps(edges_us, level_w * (1 + 0.02 * noise))


LOADS: dict[str, Callable[[np.random.Generator, int, int], Signal]] = {
    "steady": steady,
    "bursty": bursty,
    "phases": phases,
}


def _switching(
    random: np.random.Generator,
    ends_us: tuple[int, int],
    levels_w: tuple[float, float],
    lasts_us: Callable[[bool], float],
) -> Signal:
    on = bool(random.integers(2))
    edges_us, powers_w = [ends_us[0] - random.uniform(0, 1e6)], []
    while edges_us[-1] < ends_us[1]:
        edges_us.append(edges_us[-1] + lasts_us(on))
        powers_w.append(levels_w[on] * random.normal(1, 0.02))
        on = not on
    return Signal.steps(np.array(edges_us), np.array(powers_w))


def _edges(start_us: int, end_us: int, every_us: int) -> Floats:
    return np.arange(start_us, end_us + every_us, every_us, dtype=np.float64)


def _autoregressive(random: np.random.Generator, count: int, *, correlation: float) -> Floats:
    """Return noise of variance 1 whose neighbours correlate."""
    from scipy import signal

    fresh = random.normal(0, np.sqrt(1 - correlation**2), count)
    fresh[0] = random.normal()
    return np.asarray(signal.lfilter([1.0], [1.0, -correlation], fresh), dtype=np.float64)
