"""Load clients on nodes of their own: who carries, what travels, and what becomes of it when one is lost."""

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from driving import Drive
from places import cell, node
from quiet_agent import QuietAgent

from joulemark import __version__
from joulemark.agents.client.job import Broken
from joulemark.agents.clock_offset import Exchange
from joulemark.agents.orders import Loaded, NodeFacts, StartResult, Target, TrialResult
from joulemark.orchestrator import carriers as carrying
from joulemark.orchestrator import node_worker
from joulemark.orchestrator.carriers import carriers_among, why_no_carrier
from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.errors import ClusterError, DiskFull, NodeLost
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart, Trace
from joulemark.workloads.engines.adapter import ApiTraits

AHEAD_US = {"a": 0, "b": 5_000_000, "c": -7_000_000, "d": 0}
"""How far the nodes' clocks are ahead of the driver's."""
SHORT = Broken("over")


def apart(concurrency=1, **fields):
    one = cell(concurrency=concurrency, **fields)
    return replace(one, window=replace(one.window, client="apart"))


class Place:
    """What the fake agents share: what they did, and what goes wrong with the next loads of a node."""

    def __init__(self):
        self.alive = {n: Node(n, n, 0, None, address=f"10.0.0.{i}") for i, n in enumerate("abcd")}
        self.calls, self.trouble = [], {}
        self.held, self.long = set(), set()
        """Nodes that another driver holds, and carriers whose loads take long."""
        self.at_once = self.most = 0
        self.lock = threading.Lock()


class Agent(QuietAgent):
    """An agent of the place that ``Agent.place`` is."""

    place = None

    def __init__(self, node, config, holder, clock):
        if node.node in self.place.held:
            raise ValueError("the name is taken")
        self.name, self.node, self.lost, self.exchanged = node.node, node, None, None
        self.load_ended = threading.Event()
        self.begun = None

    def say(self, *what):
        if self.lost is not None:
            raise self.lost
        if self.exchanged is not None:
            self.exchanged([Exchange(0, AHEAD_US[self.name] + 10, 20)])
        with self.place.lock:
            self.place.calls.append((self.name, *what))

    def opened(self, wait_s):
        return NodeFacts(self.name, f"boot-{self.name}", 5, "cpu", 2, 1, (), (), None, {}, {"joulemark": __version__})

    def reaches_warehouse(self):
        self.say("opened")
        return True

    def start_engine(self, order):
        self.say("start", order.listen)
        engine = EngineRecord("vllm", "1", f"s-{self.name}", (), {}, {}, 0.1, "logs/s.log")
        return StartResult(engine, ("cpu",), 7, 9)

    def begin_trial(self, order):
        self.say("begin", order.trial)
        assert self.begun is None
        self.begun = order
        return Target(f"http://{self.node.address}:1", "model", ApiTraits("/", None, (), {}, {}), "key")

    def carry(self, order):
        self.say("carry", order)
        with self.place.lock:
            self.place.at_once += 1
            self.place.most = max(self.place.most, self.place.at_once)
        self.load_ended.wait(30 if self.name in self.place.long else 0.05)
        self.load_ended.clear()
        with self.place.lock:
            self.place.at_once -= 1
        for error in self.place.trouble.get(self.name, [])[:1]:
            self.place.trouble[self.name].pop(0)
            if error is None:
                time.sleep(0.4)
                continue
            if isinstance(error, NodeLost):
                self.lost = error
            raise error
        return Loaded(SHORT, (Trace("requests", f"requests/{order.trial.trial}.parquet", 1, 1, 1, {}),))

    def end_load(self, trial):
        self.say("end load", trial)
        self.load_ended.set()

    def end_trial(self, lane, loaded):
        self.say("end", loaded)
        order, self.begun = self.begun, None
        part = NodePart(self.name, f"boot-{self.name}", ("cpu",), "cpu", Interval(1, 2))
        self.place.calls.append((self.name, "apart", order.trial, loaded.apart))
        return TrialResult("done", (), part, 1, 2, loaded.traces)

    def drop_trial(self, lane):
        self.say("drop")
        self.begun = None

    def pending(self):
        self.say("pending")
        return []

    def leave(self):
        pass


@pytest.fixture
def place(monkeypatch):
    made = Place()
    monkeypatch.setattr(Agent, "place", made)
    monkeypatch.setattr(node_worker, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(node_worker, "POLL_S", 0.01)
    monkeypatch.setattr(carrying, "POLL_S", 0.01)
    monkeypatch.setattr("joulemark.orchestrator.driver.ROSTER_S", 0.02)
    return made


class Apart(Drive):
    """Drives with carriers, two starts unless it is asked otherwise; commits are among the place's calls."""

    def committed(self, manifest):
        Agent.place.calls.append((manifest.nodes[0].node, "commit", manifest.trial))
        return super().committed(manifest)

    def __call__(self, cells, clients="d", starts=2, **options):
        return super().__call__(cells, starts, clients=frozenset(clients), **options)


@pytest.fixture
def drive(place, tmp_path):
    return Apart(tmp_path, lambda: place.alive, lambda: Agent)


def test_engines_listen_to_the_node_that_carries_on_the_clock_of_their_own(place, drive):
    driver = drive([apart(model=m) for m in "xyz"])
    assert driver.errors == []
    assert len(drive.manifests) == 6
    assert all(m.outcome == "done" for m in drive.manifests)
    started = {(c[0], c[2]) for c in place.calls if c[1] == "start"}
    assert started <= {(n, place.alive[n].address) for n in "abc"}
    carried = {c[2].trial.trial: c for c in place.calls if c[1] == "carry"}
    assert {c[0] for c in carried.values()} == {"d"}
    for name, _, trial, seen in (c for c in place.calls if c[1] == "apart"):
        shift_us = AHEAD_US[name] - AHEAD_US["d"]
        assert carried[trial][2].shift_us == shift_us
        assert carried[trial][2].target.url == f"http://{place.alive[name].address}:1"
        assert (seen.node, seen.shift_us) == ("d", shift_us)
        assert 22 <= seen.clock_us < 1000, "what both are off by, and may have drifted since"
    assert place.most >= 2, "one node carries for several"


def test_a_key_is_not_shown_where_orders_are():
    assert "key-1" not in repr(Target("http://a:1", "m", ApiTraits("/", None, (), {}, {}), "key-1"))


def test_two_carriers_share_the_loads(place, drive):
    drive([apart(model=m) for m in "xy"], clients="cd", starts=3)
    assert {c[0] for c in place.calls if c[1] == "carry"} == {"c", "d"}
    assert {c[0] for c in place.calls if c[1] == "begin"} == {"a", "b"}


def test_what_the_carrier_sealed_comes_home_before_the_trial_counts(place, drive):
    drive([apart()], starts=1)
    at = [(c[0], c[1]) for c in place.calls]
    (commit,) = (i for i, (_, what) in enumerate(at) if what == "commit")
    assert ("d", "pending") in at[at.index(("d", "carry")) : commit]


def test_a_carrier_that_is_lost_costs_the_trial_and_no_more(place, drive):
    place.trouble = {"d": [NodeLost("the agent on d was lost")]}
    driver = drive([apart()], starts=3)
    assert driver.errors == []
    outcomes = [(m.start, m.failure_class) for m in drive.manifests]
    assert sorted(start for start, failure in outcomes if failure is None) == [0, 1, 2]
    lost = [start for start, failure in outcomes if failure]
    assert {failure for _, failure in outcomes if failure} == {"node_lost"}
    assert len(lost) == len(set(lost)), "nobody is sent to a carrier that is known to be lost"


def test_a_carrier_whose_disk_is_full_is_left_out_and_others_carry(place, drive):
    place.trouble = {"c": [DiskFull("no space left on c")] * 9}
    driver = drive([apart(model=m) for m in "xy"], clients="cd")
    assert [str(e) for e in driver.errors] == ["no space left on c"]
    assert len([m for m in drive.manifests if m.outcome == "done"]) == 4
    assert any(c[1] == "drop" for c in place.calls)


def test_where_no_carrier_is_left_that_is_said_at_once(place, drive):
    place.trouble = {"d": [DiskFull("no space left on d")] * 9}
    driver = drive([apart()], starts=1, patience_s=600.0)
    assert {str(e) for e in driver.errors} == {"no space left on d", "no node for the load client is left"}


def test_a_carrier_that_is_lost_now_and_then_has_its_patience_anew(place, drive):
    place.trouble = {"d": [NodeLost("lost"), None, NodeLost("lost again")]}
    driver = drive([apart()], starts=4, patience_s=0.25)
    assert driver.errors == []
    assert len([m for m in drive.manifests if m.outcome == "done"]) == 4


def test_the_run_ends_though_another_sweep_holds_a_carrier(place, drive, monkeypatch):
    monkeypatch.setattr(node_worker, "holder_of", lambda _: "sweep other")
    place.held = {"c"}
    driver = drive([apart()], clients="cd")
    assert driver.errors == []
    assert len(drive.manifests) == 2


def test_no_node_is_held_while_another_sweep_holds_the_carriers(place, drive, monkeypatch):
    monkeypatch.setattr(node_worker, "holder_of", lambda _: "sweep other")
    place.held = {"d"}
    threading.Timer(0.4, place.held.clear).start()
    threading.Timer(0.3, lambda: place.calls.append(("then",))).start()
    driver = drive([apart()], patience_s=0.1)
    assert driver.errors == []
    assert place.calls[0] == ("then",), "an agent was opened before there was a carrier"
    assert len(drive.manifests) == 2


def test_an_engine_s_node_that_is_lost_ends_its_load(place, drive, monkeypatch):
    place.long = {"d"}
    made = []

    class Watched(Agent):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

        def begin_trial(self, order):
            target = super().begin_trial(order)
            if len([c for c in place.calls if c[1] == "begin"]) == 1:
                threading.Timer(0.1, lambda: setattr(self, "lost", NodeLost("the plug of its host"))).start()
            else:
                place.long = set()
            return target

    monkeypatch.setattr(sys.modules[__name__], "Agent", Watched)
    begun = time.monotonic()
    driver = drive([apart()], starts=1)
    assert time.monotonic() - begun < 25, "the load was waited for"
    assert [c[0] for c in place.calls if c[1] == "end load"] == ["d"]
    assert [m.failure_class for m in drive.manifests] == ["node_lost", None]
    assert driver.errors == []


def test_without_a_carrier_for_long_it_ends_and_says_so(place, drive):
    place.alive.pop("d")
    driver = drive([apart()], starts=1, patience_s=0.1)
    assert {type(e) for e in driver.errors} == {ClusterError}
    assert "no node for the load client" in str(driver.errors[0])
    assert drive.manifests == []


def test_the_site_names_carriers_or_nodes_that_can_measure_nothing_are():
    here = [node("gpu-1", 8), node("gpu-2", 8), node("cpu-1")]
    on_gpus, on_cpu = apart(accelerator="H100"), apart()
    assert carriers_among(here, (), [on_gpus]) == {"cpu-1"}
    assert carriers_among(here, ("gpu-2", "away"), [on_gpus]) == {"gpu-2", "away"}, "one may come back"
    assert carriers_among(here, ("away",), [on_gpus]) == frozenset()
    assert carriers_among(here, (), [on_cpu]) == frozenset()
    assert carriers_among(here, ("cpu-1",), [cell()]) == frozenset(), "a client beside needs nobody"
    assert carriers_among([replace(node("head"), takes_work=False)], (), [on_gpus]) == frozenset()


def test_why_nothing_carries():
    assert why_no_carrier(cell(), frozenset(), ()) is None
    assert why_no_carrier(apart(), {"a"}, ()) is None
    assert "name one in the site file, clients: [NODE]" in why_no_carrier(apart(), frozenset(), ())
    assert "no client of the site file is here: x, y" in why_no_carrier(apart(), frozenset(), ("y", "x"))
