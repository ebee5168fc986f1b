"""Cool-down to the band of an idle engine, and cores that only the load client has."""

import itertools
import os
import sys

import pytest

from joulemark.agents.cooling import IdleBand
from joulemark.agents.cores import Cores


def band(*watts):
    """Return a band that was learnt from an engine at 100 W, and then sees these watts, the last one for ever."""
    seen = itertools.chain(watts[:-1], itertools.repeat(watts[-1]))
    made = IdleBand(lambda: 100.0)
    made.learn(0.01, no_wait)
    made.watts = lambda: next(seen)
    return made


def no_wait(_):
    return False


def test_a_node_that_is_cool_waits_for_nothing():
    said = []
    band(104.0).wait_cool(10.0, said.append, no_wait)
    assert said == []


def test_the_wait_is_as_long_as_it_is_hot():
    said = []
    band(300.0, 200.0, 103.0).wait_cool(10.0, said.append, no_wait)
    assert said == ["cooling down (300 W, idle is below 106 W)", "cooling down (200 W, idle is below 106 W)"]


def test_what_stays_hot_is_measured_all_the_same():
    assert band(300.0).wait_cool(0.05, lambda _: None, no_wait) >= 0.05


def test_an_order_to_stop_ends_the_wait():
    said = []
    band(300.0).wait_cool(60.0, said.append, lambda _: True)
    assert len(said) == 1


def test_without_watts_there_is_nothing_to_wait_for():
    made = IdleBand(lambda: None)
    made.learn(0.01, no_wait)
    assert made.high_w is None
    made.wait_cool(10.0, pytest.fail, no_wait)


@pytest.mark.parametrize(
    ("cpus", "ranks", "on_cpu", "engine", "client"),
    [
        (2, 1, True, 1, None),
        (2, 2, True, 2, None),
        (4, 1, False, 3, None),
        (16, 1, True, 15, 1),
        (16, 8, False, 14, 2),
        (256, 8, False, 248, 8),
    ],
)
def test_cores_are_shared_out(cpus, ranks, on_cpu, engine, client):
    cores = Cores.of(tuple(range(cpus)), ranks=ranks, on_cpu=on_cpu)
    assert len(cores.engine) == engine
    assert cores.client is None if client is None else len(cores.client) == client
    assert set(cores.engine).isdisjoint(cores.client or ())
    assert cores.fenced == (None if client is None else cores.engine)


def test_an_engine_is_bound_to_its_cores(tmp_path):
    from joulemark.agents.engines.process import EngineProcess

    one = min(os.sched_getaffinity(0))
    code = "import os;print(sorted(os.sched_getaffinity(0)), flush=True)"
    process = EngineProcess.start((sys.executable, "-c", code), {}, tmp_path, 1.0, cpus=[one])
    assert process.wait(20)
    process.stop(1.0)
    assert process.log.read_text().strip() == f"[{one}]"
