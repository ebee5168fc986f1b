"""The observer effect: stretches with and without a sampler, on counters whose power is known."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.observer import effect, observe, stretches
from joulemark.warehouse.errors import MeterError

CPU = Channel("package-0", "cpu_package", "counter")
MODEL = Channel("cpu", "cpu_process", "modelled")


class Counter:
    """A counter at 50 W, and 5 W more while ``on``."""

    name, channels = "counter", (CPU,)

    def __init__(self, channel=CPU):
        self.channel, self.on, self.total_uj, self.last_s = channel, False, 0.0, time.monotonic()

    def read(self):
        now_s = time.monotonic()
        self.total_uj += (now_s - self.last_s) * (55 if self.on else 50) * 1e6
        self.last_s = now_s
        return [Reading(self.channel, None, round(self.total_uj))]

    @contextmanager
    def sampling(self):
        self.read()
        self.on = True
        yield
        self.read()
        self.on = False

    def describe(self):
        return {}


def test_what_the_sampler_adds_is_the_difference_of_stretches():
    meter = Counter()
    powers = stretches([meter], 0.05, 4, meter.sampling)
    assert {c: tuple(map(len, p)) for c, p in powers.items()} == {CPU: (4, 4)}
    found = effect(CPU, *powers[CPU])
    assert found.without_w == pytest.approx(50, rel=0.01)
    assert found.difference_w == pytest.approx(5, rel=0.1)
    assert found.half_width_w < 2


def test_one_pair_says_nothing_about_chance():
    assert effect(CPU, [50.0], [51.0]).half_width_w == float("inf")


def test_a_model_is_no_counter():
    with pytest.raises(MeterError, match="no meter of this machine counts energy"):
        observe([Counter(MODEL)], 0.01, 1)
