"""Nodes that are lost, come back, stay away or are held by others, with agents that answer as scripted and no Ray."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from driving import Drive
from quiet_agent import QuietAgent

from joulemark import __version__
from joulemark.agents.orders import NodeFacts, StartResult, TrialResult
from joulemark.agents.outbox import Sealed
from joulemark.orchestrator import node_worker
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.plan import groups
from joulemark.warehouse.errors import ClusterError, DiskFull, MeterError, NodeLost, WarehouseError
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload

CELLS = (1, 2, 4)


class Cluster:
    """What the fake agents share: how each node behaves, and what ran where."""

    def __init__(self):
        self.alive = {"a": Node("a", "1", 0, None), "b": Node("b", "2", 0, None)}
        self.trouble = {}
        """By node: errors that its next trials raise."""
        self.opening = {}
        """By node: errors that its next agents raise when they open."""
        self.held = {}
        """By node: how often another driver's agent is still there."""
        self.unsent = []
        """What an earlier run left on the nodes."""
        self.ran, self.opened, self.left = [], [], []
        self.version = __version__
        self.gate = threading.Event()
        self.gate.set()

    def kill(self, name):
        self.alive.pop(name, None)


class Agent(QuietAgent):
    """An agent of the cluster that ``Agent.cluster`` is."""

    cluster = None

    def __init__(self, node, config, holder, clock):
        if self.cluster.held.get(node.node, 0):
            self.cluster.held[node.node] -= 1
            raise ValueError("the name is taken")
        self.node = node
        self.cluster.opened.append(node.node)

    def opened(self, wait_s):
        errors = self.cluster.opening.get(self.node.node, [])
        if errors:
            raise errors.pop(0)
        versions = {"joulemark": self.cluster.version}
        return NodeFacts(self.node.node, "boot", 5, "cpu", 2, 1, (), (), None, {}, versions)

    def pending(self):
        return list(self.cluster.unsent)

    def upload(self, sealed):
        self.cluster.unsent = [s for s in self.cluster.unsent if s not in sealed]

    def start_engine(self, order):
        return StartResult(EngineRecord("llamacpp", "1", "s", (), {}, {}, 0.1, "logs/s.log"), ("cpu",), 7, 9)

    def run_trial(self, order):
        errors = self.cluster.trouble.get(self.node.node, [])
        if errors:
            error = errors.pop(0)
            if callable(error):
                error = error()
            if error is not None:
                raise error
        self.cluster.gate.wait(10)
        time.sleep(0.02)
        self.cluster.ran.append((self.node.node, order.trial))
        return TrialResult("done", (), NodePart(self.node.node, "boot", ("cpu",), "cpu", Interval(1, 2)), 1, 2)

    def leave(self):
        self.cluster.left.append(self.node.node)


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setattr(Agent, "cluster", made)
    monkeypatch.setattr(node_worker, "holder_of", lambda _: "sweep other (process 1 on x)")
    monkeypatch.setattr(node_worker, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("joulemark.orchestrator.driver.ROSTER_S", 0.02)
    return made


class Losing(Drive):
    """Drives ``CELLS``; every trial may count once, and no agent may be left."""

    def __call__(self, starts=2, only=None, commit_errors=(), valid_now=lambda _: {}, **options):
        errors = list(commit_errors)
        deployment = Deployment(
            ModelRef("m", "path", "/m.gguf"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel()
        )
        cells = [Cell(deployment, Workload(10, 5, c), WindowPolicy(1.0, 2.0)) for c in CELLS]
        todo = groups(cells, 1, starts, ())
        if only is not None:
            todo = [replace(g, nodes=frozenset({only})) for g in todo]

        def commit(manifest):
            if errors:
                raise errors.pop(0)
            return self.committed(manifest)

        driver = self.driver(todo, len(CELLS) * starts, commit=commit, valid_now=lambda: valid_now(todo), **options)
        driver.run()
        self.valid = [m for m in self.manifests if m.outcome == "done"]
        assert len({(m.cell, m.start, m.repeat) for m in self.valid}) == len(self.valid), "a trial counts twice"
        self.all = {(c.cell_id, s) for c in cells for s in range(starts)} == {(m.cell, m.start) for m in self.valid}
        opened, left = Agent.cluster.opened, Agent.cluster.left
        assert sorted(opened) == sorted(left), "an agent was left on its node"
        return driver


@pytest.fixture
def drive(cluster, tmp_path):
    return Losing(tmp_path, lambda: cluster.alive, lambda: Agent)


def lost(text="a is gone"):
    return NodeLost(text)


def test_all_nodes_work(cluster, drive):
    assert drive(starts=6).errors == []
    assert drive.all
    assert {node for node, _ in cluster.ran} == {"a", "b"}


def test_what_a_node_loses_another_does(cluster, drive):
    cluster.trouble["a"] = [lambda: cluster.kill("a") or lost()]
    driver = drive()
    assert drive.all
    assert [m.failure_class for m in drive.manifests if m.outcome == "failed"] == ["node_lost"]
    assert driver.errors == []
    assert any("a is gone; what it had not finished" in t for t in drive.told)


def test_an_agent_that_is_lost_on_a_node_that_lives_is_made_anew(cluster, drive):
    cluster.kill("b")
    cluster.trouble["a"] = [None, lost(), None, lost()]
    assert drive().errors == []
    assert drive.all
    assert cluster.opened == ["a"] * 3


def test_the_only_node_that_will_do_is_waited_for(cluster, drive):
    node = cluster.alive["a"]

    def dies():
        cluster.kill("a")
        threading.Timer(0.3, cluster.alive.setdefault, ("a", node)).start()
        return lost()

    cluster.trouble["a"] = [dies]
    assert drive(only="a").errors == []
    assert drive.all
    assert "b" not in cluster.opened


def test_patience_with_a_node_ends(cluster, drive):
    cluster.trouble["a"] = [lambda: cluster.kill("a") or lost()]
    (error,) = drive(only="a", patience_s=0.2).errors
    assert "a did not come back" in str(error)
    assert "the same command goes on" in str(error)
    assert not drive.all


def test_a_node_that_joins_later_works_too(cluster, drive):
    late = cluster.alive.pop("b")
    cluster.trouble["a"] = [lambda: cluster.alive.update(b=late) or time.sleep(0.5)]
    assert drive(starts=6).errors == []
    assert drive.all
    assert {node for node, _ in cluster.ran} == {"a", "b"}


def test_a_node_that_another_driver_holds_is_waited_for_and_it_says_who(cluster, drive):
    cluster.kill("b")
    cluster.held["a"] = 2
    assert drive().errors == []
    assert drive.all
    assert [t for t in drive.told if "waiting for" in t] == [
        "a: waiting for sweep other (process 1 on x) to leave this node"
    ]


def test_a_node_whose_meters_fail_is_left_out_and_the_others_do_its_work(cluster, drive):
    cluster.opening["a"] = [MeterError("no meter can be read")]
    driver = drive()
    assert [str(e) for e in driver.errors] == ["no meter can be read"]
    assert drive.all


def test_what_an_earlier_run_left_on_a_node_may_make_its_trials_valid(cluster, drive):
    cluster.kill("b")
    cluster.unsent = [Sealed("power/a/boot-1.parquet", 9, "digest")]

    def valid_now(todo):
        assert cluster.unsent == [], "asked before it was home"
        return {todo[0].trials[0].key: frozenset("a")}

    drive(starts=1, valid_now=valid_now)
    assert "a: brought home 1 files that an earlier run had left here" in drive.told
    assert len(drive.valid) == len(CELLS) - 1


def test_what_another_driver_did_while_this_one_hung_is_not_measured_again(cluster, drive):
    cluster.kill("b")
    cluster.trouble["a"] = [lost("the driver hung, and its agents left")]
    drive(starts=1, valid_now=lambda todo: {t.key: frozenset("x") for t in todo[0].trials})
    assert [m.failure_class for m in drive.manifests] == ["node_lost"]


def test_a_fault_of_ours_on_one_node_is_raised_when_the_others_are_done(cluster, drive):
    cluster.trouble["a"] = [KeyError("ours")]
    with pytest.raises(KeyError, match="ours"):
        drive(starts=6)
    assert any("a: its part of the sweep ends" in t and "KeyError('ours')" in t for t in drive.told)
    assert len({(m.cell, m.start) for m in drive.manifests if m.outcome == "done"}) == 6 * len(CELLS)
    assert sorted(cluster.opened) == sorted(cluster.left)


def test_another_version_on_a_node_is_refused(cluster, drive):
    cluster.version = "0.0.0"
    errors = drive().errors
    assert all(isinstance(e, ClusterError) and "install the same everywhere" in str(e) for e in errors)
    assert drive.manifests == []


def test_a_warehouse_that_is_away_when_a_trial_is_committed(cluster, drive, monkeypatch):
    monkeypatch.setattr("joulemark.orchestrator.home.SLOWEST_S", 0.05)
    monkeypatch.setattr("joulemark.orchestrator.home.FIRST_S", 0.05)
    assert drive(commit_errors=[WarehouseError("away")] * 3).errors == []
    assert drive.all


def test_a_full_warehouse_ends_the_run_and_says_so(cluster, drive):
    cluster.kill("b")
    (error,) = drive(commit_errors=[DiskFull("no space left")] * 9).errors
    assert str(error) == "no space left"


def test_a_trial_that_takes_every_node_with_it_is_given_up(cluster, drive):
    cluster.trouble["a"] = [lost()] * 3
    cluster.kill("b")
    assert drive(starts=1).errors == []
    failed = [m for m in drive.manifests if m.outcome == "failed"]
    assert len(failed) == 3
    assert len({m.cell for m in failed}) == 1
    assert len({m.trial for m in drive.manifests}) == len(drive.manifests)
    assert len(drive.valid) == len(CELLS) - 1
