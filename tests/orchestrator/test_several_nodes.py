"""Deployments over several nodes: they gather, start, measure and end together, whatever becomes of one of them."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from driving import Drive
from places import cell
from quiet_agent import QuietAgent

from joulemark import __version__
from joulemark.agents.clock_offset import Exchange
from joulemark.agents.orders import NodeFacts, PartResult, RankEnd, StartResult, TrialResult
from joulemark.orchestrator import gang as gangs
from joulemark.orchestrator import node_worker
from joulemark.orchestrator.gang import Gang
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import groups
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.work import Work
from joulemark.warehouse.errors import ClusterError, NodeLost
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart, Trace
from joulemark.workloads.cell import Parallel

AHEAD_US = {"a": 0, "b": 5_000_000, "c": -7_000_000}
"""How far the nodes' clocks are ahead of the driver's."""
WINDOW, IDLE = Interval(1_000_000, 3_000_000), Interval(100_000, 600_000)


class Place:
    """What the fake agents share."""

    def __init__(self, names="ab"):
        self.alive = {n: Node(n, n, 0, None, address=f"10.0.0.{i}") for i, n in enumerate(names)}
        self.calls, self.left = [], []
        self.rank_ends = {}
        """By node: what ends its rank, once."""
        self.lose = {}
        """By node: how often it is lost while a trial runs."""
        self.fails = {}
        """By node: the class with which its preparation fails, once."""


class Agent(QuietAgent):
    """An agent of the place that ``Agent.place`` is."""

    place = None

    def __init__(self, node, config, holder, clock):
        self.node, self.name = node, node.node
        self.lost = None
        self.exchanged = None
        self.running = threading.Event()
        self.abandoned = threading.Event()

    def say(self, *what):
        if self.lost is not None:
            raise self.lost
        self.place.calls.append((self.name, *what))

    def gone(self):
        self.lost = NodeLost(f"the agent on {self.name} was lost")
        self.running.clear()

    def opened(self, wait_s):
        return NodeFacts(self.name, f"boot-{self.name}", 5, "cpu", 2, 1, (), (), None, {}, {"joulemark": __version__})

    def prepare_engine(self, order):
        self.say("prepare")
        self.exchanged([Exchange(0, AHEAD_US[self.name] + 10, 20)])
        failed = self.place.fails.pop(self.name, None)
        return StartResult(None, ("cpu",), 7, 9, failed, f"it was {failed}" if failed else None)

    def free_ports(self):
        return 29500

    def start_engine(self, order):
        self.say("start", order.span)
        self.running.set()
        engine = EngineRecord("vllm", "1", f"s-{self.name}", (), {}, {}, 0.1, "logs/s.log")
        return StartResult(engine, ("cpu",), 7, 9)

    def run_trial(self, order):
        self.say("run", order.trial)
        assert self.running.is_set()
        part = NodePart(self.name, f"boot-{self.name}", ("cpu",), "cpu", WINDOW, loaded_idle=IDLE)
        for _ in range(20):
            if self.abandoned.is_set():
                return TrialResult("failed", (), replace(part, window=None), 500, 9, (), None, "interrupted", "stopped")
            time.sleep(0.01)
        return TrialResult("done", (), part, 500, 9, (Trace("requests", f"{order.trial}.parquet", 1, 1, 1, {}),))

    def part_of_trial(self, order):
        self.say("part", order)
        part = NodePart(self.name, "boot", ("cpu",), "cpu", order.window, loaded_idle=order.loaded_idle)
        return PartResult(part, (Trace("power", f"{self.name}.parquet", 1, 1, 1, {}),), (f"of_{self.name}",))

    def rank_ended(self, lane):
        end = self.place.rank_ends.pop(self.name, None)
        if self.place.lose.get(self.name, 0):
            self.place.lose[self.name] -= 1
            time.sleep(0.05)
            self.gone()
        while self.running.is_set() and end is None:
            time.sleep(0.01)
        if self.lost is not None:
            raise self.lost
        return end

    def abandon(self, lane):
        self.say("abandon")
        self.abandoned.set()

    def stop_engine(self, lane):
        self.say("stop")
        self.abandoned.clear()
        self.running.clear()

    def interrupt(self):
        self.abandoned.set()

    def leave(self):
        self.running.clear()


def spanning(model="wide", over=2):
    one = cell(model)
    return replace(one, deployment=replace(one.deployment, parallel=Parallel(data=over, nodes=over)))


@pytest.fixture
def place(monkeypatch):
    made = Place()
    monkeypatch.setattr(Agent, "place", made)
    monkeypatch.setattr(node_worker, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(gangs, "POLL_S", 0.01)
    monkeypatch.setattr("joulemark.orchestrator.driver.ROSTER_S", 0.02)
    return made


@pytest.fixture
def drive(place, tmp_path):
    return Drive(tmp_path, lambda: place.alive, lambda: Agent)


def test_all_ranks_start_and_the_window_is_put_on_each_nodes_clock(place, drive):
    drive([spanning()])
    (manifest,) = drive.manifests
    assert manifest.outcome == "done"
    head, other = manifest.nodes
    shift_us = AHEAD_US[other.node] - AHEAD_US[head.node]
    assert head.window == WINDOW
    assert other.window == Interval(WINDOW.start_us + shift_us, WINDOW.end_us + shift_us)
    assert other.loaded_idle == Interval(IDLE.start_us + shift_us, IDLE.end_us + shift_us)
    assert {t.dataset for t in manifest.traces} == {"requests", "power"}
    assert f"of_{other.node}" in manifest.reasons
    spans = {call[0]: call[2] for call in place.calls if call[1] == "start"}
    address = place.alive[head.node].address
    assert {n: (s.rank, s.head, s.port) for n, s in spans.items()} == {
        head.node: (0, address, 29500),
        other.node: (1, address, 29500),
    }
    assert [c[0] for c in place.calls if c[1] == "run"] == [head.node]
    assert {c[0] for c in place.calls if c[1] == "stop"} == {"a", "b"}


def test_a_rank_that_ends_elsewhere_ends_the_trial_and_all_is_tried_again(place, drive):
    place.rank_ends = dict.fromkeys("ab", RankEnd("engine_died", "vllm ended by signal 9", ("last words",)))
    drive([spanning()])
    failed, *rest = drive.manifests
    assert [m.outcome for m in rest[-1:]] == ["done"]
    assert failed.failure_class == "engine_died"
    assert failed.error == f"on {failed.nodes[1].node}: vllm ended by signal 9"
    assert len(failed.nodes) == 2
    assert failed.trial != rest[-1].trial


def test_what_cannot_be_prepared_on_one_node_is_started_on_none(place, drive):
    place.fails = dict.fromkeys("ab", "bad_checkpoint")
    drive([spanning()])
    (manifest,) = drive.manifests
    assert (manifest.outcome, manifest.failure_class) == ("failed", "bad_checkpoint")
    assert not [c for c in place.calls if c[1] == "start"]
    assert {n.node for n in manifest.nodes} == {"a", "b"}


def test_a_node_that_is_lost_lets_the_others_go_and_the_rest_is_done_when_it_is_back(place, drive):
    place.lose = {"a": 1, "b": 1}
    driver = drive([spanning()], starts=3)
    assert driver.errors == []
    outcomes = [(m.start, m.failure_class) for m in drive.manifests]
    assert sorted(start for start, failure in outcomes if failure is None) == [0, 1, 2]
    assert "node_lost" in {failure for _, failure in outcomes}


def test_gangs_and_single_groups_share_the_nodes_without_waiting_for_each_other_for_ever(place, drive):
    place.alive = Place("abc").alive
    cells = [spanning("two"), cell("single"), spanning("three", 3), spanning("other"), cell("more")]
    drive(cells, starts=4)
    done = [(m.factors["model"]["name"], m.start) for m in drive.manifests if m.outcome == "done"]
    assert sorted(done) == sorted((c.deployment.model.name, s) for c in cells for s in range(4))
    assert {len(m.nodes) for m in drive.manifests if m.factors["model"]["name"] == "three"} == {3}


def test_too_few_nodes_are_said_to_be_too_few(place, drive, monkeypatch):
    monkeypatch.setattr(gangs, "TOO_FEW_S", 0.05)
    place.alive.pop("b")
    driver = drive([spanning()], patience_s=0.3)
    assert drive.manifests == []
    assert "takes 2 nodes, of which 1 are there" in " ".join(drive.told)
    assert [type(e) for e in driver.errors] == [ClusterError]


def test_the_oldest_gang_has_every_node_that_comes_free():
    a, b, c = (Node(n, n, 0, None) for n in "abc")
    work = Work(Schedule.of(groups([spanning("x"), spanning("y")], 1, 1, ()), lambda _: 1.0), Lanes({}))
    go_on = threading.Event()
    first = work.take(a, go_on)
    assert isinstance(first, Gang)
    assert work.take(b, go_on) is first
    second = work.take(c, go_on)
    assert second is not first
    assert second.wants("a")
    assert not first.wants("c")
    work.done(b, first.group)
    assert work.take(b, go_on) is second
