"""Groups that nodes share: taken once, given back where a node is lost, over when all are done."""

import threading

from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.plan import groups
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


def test_each_group_is_taken_once_and_the_end_is_seen_by_all():
    work = Work(some(), lambda *_: True)
    first, second = work.take(A, GO_ON), work.take(B, GO_ON)
    assert {first.start, second.start} == {0, 1}
    work.done(A, first)
    work.done(B, second)
    assert work.take(A, GO_ON) is None
    assert not work.waits_for(B)


def test_a_node_without_work_waits_for_what_another_may_lose():
    work = Work(some(starts=1), lambda *_: True)
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
    work = Work(some(starts=1), lambda *_: True)
    group = work.take(A, GO_ON)
    work.give_back(A, group, {t.key for t in group.trials})
    assert work.take(B, GO_ON) is None


def test_what_only_one_node_can_run_is_left_to_it():
    work = Work(some(starts=1), lambda _, node: node is A)
    assert not work.waits_for(B)
    assert work.take(B, GO_ON) is None
    assert work.waits_for(A)


def test_an_order_to_stop_ends_the_waiting():
    work = Work(some(starts=1), lambda *_: True)
    work.take(A, GO_ON)
    stopped = threading.Event()
    stopped.set()
    assert work.take(B, stopped) is None
