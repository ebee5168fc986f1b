"""Forecasts against what follows from the model by hand."""

from __future__ import annotations

import itertools

import pytest

from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.simulation.build import machine_of
from joulemark.workloads.simulation.forecast import closed_loop, open_loop
from joulemark.workloads.simulation.machine import Load, cost


@pytest.fixture(scope="module")
def machine():
    reference = ModelRef("llama-3.1-8b", "hub", "x")
    deployment = Deployment(reference, "bf16", "auto", EngineRef("simulated", "1"), "H100", Parallel())
    return machine_of(deployment, catalogue()["llama-3.1-8b"].facts)


def same(inputs, outputs):
    return itertools.repeat((inputs, outputs))


def test_one_stream(machine):
    found = closed_loop(machine, 8, 1, same(100, 64))
    prompt = cost(machine, Load(0, 0, 100, 100 * 101 // 2, 1))
    tokens = [cost(machine, Load(1, 100 + n, logits=1)) for n in range(1, 64)]
    seconds = prompt.seconds + sum(t.seconds for t in tokens)
    joules = prompt.seconds * prompt.watts + sum(t.seconds * t.watts for t in tokens)
    assert found.request_s == pytest.approx(seconds)
    assert found.output_tokens_per_s == pytest.approx(64 / seconds)
    assert found.j_per_output_token == pytest.approx(joules / 64)
    assert found.ttft_s == pytest.approx(prompt.seconds)
    assert found.itl_s == pytest.approx((seconds - prompt.seconds) / 63)


def test_little_s_law_and_all_tokens(machine):
    found = closed_loop(machine, 64, 32, same(200, 100))
    assert found.requests_per_s * found.request_s == pytest.approx(32, rel=0.02)
    assert found.output_tokens_per_s == pytest.approx(100 * found.requests_per_s, rel=0.03)
    assert found.input_tokens_per_s == pytest.approx(200 * found.requests_per_s, rel=0.1)


def test_more_streams_give_more_for_less_each(machine):
    found = [closed_loop(machine, 256, c, same(200, 100)) for c in (1, 4, 16, 64, 256)]
    rates = [f.output_tokens_per_s for f in found]
    joules = [f.j_per_output_token for f in found]
    waits = [f.itl_s for f in found]
    assert rates == sorted(rates)
    assert joules == sorted(joules, reverse=True)
    assert waits == sorted(waits)


def test_slots_bound_the_batch_and_the_rest_waits(machine):
    wide, narrow = (closed_loop(machine, slots, 64, same(200, 100)) for slots in (64, 8))
    assert narrow.batch <= 8
    assert narrow.ttft_s > 10 * wide.ttft_s


def test_an_open_loop_gives_what_is_asked_for(machine):
    found = open_loop(machine, 256, (n / 10 for n in itertools.count()), same(100, 50), 60.0)
    assert found.kept_up
    assert found.requests_per_s == pytest.approx(10, rel=0.05)
    assert found.output_tokens_per_s == pytest.approx(500, rel=0.05)
    assert machine.idle_w < found.watts < closed_loop(machine, 256, 16, same(100, 50)).watts


def test_an_open_loop_that_asks_too_much_is_said_to(machine):
    assert not open_loop(machine, 16, (n / 500 for n in itertools.count()), same(500, 100), 20.0).kept_up


def test_an_idle_open_loop_takes_idle_power(machine):
    found = open_loop(machine, 16, iter([0.5, 59.5]), same(10, 2), 60.0)
    assert found.watts == pytest.approx(machine.idle_w, rel=0.02)
