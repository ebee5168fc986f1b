"""Groups that nodes share: taken once, given back where a node is lost, over when all are done."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from places import cell, node

from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import groups
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.work import Work
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload

A, B = Node("a", "1", 0, None), Node("b", "2", 0, None)
GO_ON = threading.Event()


def some(repeats=2, starts=2):
    deployment = Deployment(
        ModelRef("m", "path", "/m.gguf"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel()
    )
    cells = [Cell(deployment, Workload(10, 5, c), WindowPolicy(1.0, 2.0)) for c in (1, 2)]
    return groups(cells, repeats, starts, ())


def made(work, lanes=None):
    return Work(Schedule.of(work, lambda _: 1.0, widest_first=True), lanes or Lanes({}))


def test_each_group_is_taken_once_and_the_end_is_seen_by_all():
    work = made(some())
    first, second = work.take(A, GO_ON), work.take(B, GO_ON)
    assert {first.start, second.start} == {0, 1}
    work.done(A, first)
    work.done(B, second)
    assert work.take(A, GO_ON) is None
    assert not work.waits_for(B)


def test_a_node_without_work_waits_for_what_another_may_lose():
    work = made(some(starts=1))
    group = work.take(A, GO_ON)
    assert work.waits_for(B)
    got = []
    waiting = threading.Thread(target=lambda: got.append(work.take(B, GO_ON)))
    waiting.start()
    settled = {group.trials[0].key}
    work.give_back(A, group, settled)
    waiting.join(10)
    assert [t.key for t in got[0].trials] == [t.key for t in group.trials[1:]]


def test_a_group_whose_trials_are_all_settled_is_not_put_back():
    work = made(some(starts=1))
    group = work.take(A, GO_ON)
    work.give_back(A, group, {t.key for t in group.trials})
    assert work.take(B, GO_ON) is None


def test_what_only_one_node_can_run_is_left_to_it():
    work = made([replace(g, nodes=frozenset({"a"})) for g in some(starts=1)])
    assert not work.waits_for(B)
    assert work.take(B, GO_ON) is None
    assert work.waits_for(A)


def test_an_order_to_stop_ends_the_waiting():
    work = made(some(starts=1))
    work.take(A, GO_ON)
    stopped = threading.Event()
    stopped.set()
    assert work.take(B, stopped) is None


def test_lanes_of_a_node_share_its_gpus_and_what_needs_more_waits_for_them():
    cells = [cell("two", accelerator="H100", devices=2), cell("four", accelerator="H100", devices=4)]
    pending = groups([*cells, cell("cpu")], 1, 1, ())
    eight, work = node("n", 8), made(pending, Lanes.of("gpu", pending))
    four, two = work.take(eight, GO_ON), work.take(eight, GO_ON)
    assert [g.deployment.model.name for g in (four, two)] == ["four", "two"]
    got = []
    waiting = threading.Thread(target=lambda: got.append(work.take(eight, GO_ON)))
    waiting.start()
    work.done(eight, two)
    waiting.join(0.2)
    assert waiting.is_alive(), "the CPUs are measured when no engine is beside"
    work.done(eight, four)
    waiting.join(10)
    assert got[0].deployment.model.name == "cpu"
