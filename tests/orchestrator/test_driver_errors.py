"""What a driver makes of trouble: errors of agents, a full disk, a node that another sweep held, a dead terminal."""

import errno
import sys
import threading

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from joulemark.orchestrator.driver import Driver
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import groups
from joulemark.orchestrator.progress import Progress
from joulemark.orchestrator.ray_calls import user_error
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.terminal import Terminal
from joulemark.orchestrator.verdicts import known
from joulemark.warehouse.build import judge
from joulemark.warehouse.errors import ClusterError, DiskFull, EngineError, MissingTool
from joulemark.warehouse.store.location import Warehouse
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload


def cells(*concurrencies):
    deployment = Deployment(
        ModelRef("m", "path", "/m.gguf"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel()
    )
    return [Cell(deployment, Workload(10, 5, c), WindowPolicy(1.0, 2.0)) for c in concurrencies]


def driver(warehouse, told, valid=(), left=()):
    return Driver(
        warehouse=warehouse,
        sweep=None,
        living=list,
        config=lambda _: None,
        commit=lambda _: known(()),
        attempts={},
        progress=Progress("sweep", 4, 0),
        tell=told.append,
        taken=lambda _: False,
        valid_now=lambda: dict.fromkeys(valid, frozenset({"n"})),
        schedule=Schedule.of(left, lambda _: 1.0),
        lanes=Lanes({}),
        clock=None,
    )


def in_actor(cause):
    return RayTaskError("f", "Traceback of f", cause, proctitle="p", pid=1, ip="1.2.3.4")


@pytest.mark.parametrize("wrap", [lambda e: e, ActorDiedError], ids=["in a call", "while it is made"])
def test_an_error_of_the_agent_reaches_the_user_as_it_was_said(wrap):
    said = user_error("n", wrap(in_actor(MissingTool("set JOULEMARK_HOME"))))
    assert (type(said), str(said)) == (MissingTool, "set JOULEMARK_HOME")
    full = user_error("n", wrap(in_actor(OSError(errno.ENOSPC, "no space", "/x/y"))))
    assert isinstance(full, DiskFull)
    assert "/x/y" in str(full)
    other = user_error("n", wrap(in_actor(PermissionError(errno.EACCES, "Permission denied", "/x/y"))))
    assert isinstance(other, ClusterError)
    assert str(other) == "n: /x/y: Permission denied"


def test_a_fault_of_ours_is_no_user_error():
    assert isinstance(user_error("n", in_actor(KeyError("x"))), RuntimeError)


def test_a_lost_agent_is_one_plain_line():
    said = user_error("n", ActorDiedError(in_actor(KeyError("x"))))
    assert isinstance(said, ClusterError)
    assert "\n" not in str(said)
    assert "\x1b" not in str(said)


def test_an_engine_error_keeps_all_its_parts_on_its_way():
    import pickle

    error = pickle.loads(pickle.dumps(EngineError("it died", "engine_died", ("a", "b"))))  # noqa: S301 -- made here
    assert (str(error), error.failure_class, error.log) == ("it died", "engine_died", ("a", "b"))


def test_after_waiting_for_another_sweep_its_valid_trials_are_not_measured_again(tmp_path):
    first, second = groups(cells(1, 2), 2, 2, ())
    done = {t.key for t in first.trials} | {second.trials[0].key}
    waiting = driver(Warehouse.at(tmp_path), [], done, [first, second])
    waiting.drop_valid()
    node = Node("n", "", 0, None)
    next_group = waiting.work.take(node, threading.Event())
    assert [t.key for t in next_group.trials] == [t.key for t in second.trials[1:]]
    waiting.work.done(node, next_group)
    assert waiting.work.take(node, threading.Event()) is None
    assert waiting.progress.had == len(done)


def test_progress_that_cannot_be_written_is_said_once(tmp_path, monkeypatch):
    told = []
    full = driver(Warehouse.at(tmp_path), told)

    def no_space(*_, **__):
        raise DiskFull("no space left")

    monkeypatch.setattr("joulemark.orchestrator.driver.save", no_space)
    full._save()
    full._save()
    assert told == ["progress record: no space left"]


def test_progress_is_shown_to_the_end_also_where_it_cannot_be_written(tmp_path, monkeypatch):
    shown = []
    full = driver(Warehouse.at(tmp_path), [])
    full.show = shown.append

    def no_space(*_, **__):
        raise DiskFull("no space left")

    monkeypatch.setattr("joulemark.orchestrator.driver.save", no_space)
    full.run()
    assert [s.state for s in shown][-1] == "ended"


def test_figures_that_cannot_be_written_say_nothing_about_the_trial(tmp_path, monkeypatch):
    def no_space(*_, **__):
        raise DiskFull("no space left")

    monkeypatch.setattr(judge, "build", no_space)
    with pytest.raises(DiskFull):
        judge.built_reasons(Warehouse.at(tmp_path), "c-d-s0r0a0")


class DeadTerminal:
    """A stream whose terminal was closed."""

    def write(self, _):
        raise OSError(errno.EIO, "Input/output error")

    flush = write

    def isatty(self):
        return False


def test_a_dead_terminal_ends_no_sweep(monkeypatch):
    before = threading.active_count()
    monkeypatch.setattr(sys, "stderr", DeadTerminal())
    with Terminal(Progress("sweep", 1, 0).snapshot) as terminal:
        terminal.tell("stopping now")
        terminal.tell("one more line")
    assert threading.active_count() <= before + 1
