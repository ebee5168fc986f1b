"""Traces come home whole or not at all, wait out a warehouse that is away, and are forgotten only once they count."""

import threading

import pytest

from joulemark.agents.outbox import Outbox
from joulemark.orchestrator.home import Home, Patience
from joulemark.warehouse.errors import DiskFull, NodeLost, WarehouseError
from joulemark.warehouse.store import location
from joulemark.warehouse.store.location import Warehouse


class Agent:
    """A node with an outbox; ``trouble`` words are raised one after the other by the next calls that send."""

    def __init__(self, folder, reaches):
        self.outbox = Outbox(folder, "w")
        self.reaches, self.trouble, self.uploads = reaches, [], 0

    def reaches_warehouse(self):
        return self.reaches is not None

    def pending(self):
        return self.outbox.pending()

    def upload(self, sealed):
        self.uploads += 1
        self._trouble()
        self.outbox.upload(self.reaches, sealed)

    def chunk(self, name, offset):
        self._trouble()
        return self.outbox.chunk(name, offset)[:100]

    def forget(self, names):
        self.outbox.forget(names)

    def _trouble(self):
        if self.trouble:
            error = self.trouble.pop(0)
            if error is not None:
                raise error


@pytest.fixture
def told():
    return []


@pytest.fixture(params=["the node writes", "through the driver"])
def home(request, tmp_path, told):
    warehouse = Warehouse.at(tmp_path / "records")
    agent = Agent(tmp_path / "outbox", warehouse if request.param == "the node writes" else None)
    made = Home(agent, warehouse, Patience(told.append, threading.Event(), 60.0))
    made.begin()
    return made


def put(home, name, content):
    home.agent.outbox.files.write(name, content)


def test_all_of_it_comes_home_and_is_forgotten_once_it_is_committed(home):
    put(home, "power/n/a.parquet", b"p" * 1234)
    put(home, "requests/t.parquet", b"r" * 10)
    assert home.bring() == 2
    assert home.warehouse.read("power/n/a.parquet") == b"p" * 1234
    assert len(home.agent.pending()) == 2
    assert home.bring() == 0, "what has come home is not sent again"
    home.committed()
    assert home.agent.pending() == []


def test_a_warehouse_that_is_away_for_a_while_costs_nothing(home, told, monkeypatch):
    monkeypatch.setattr(home.patience.stopping, "wait", lambda _: None)
    put(home, "power/n/a.parquet", b"p" * 1234)
    home.agent.trouble = [WarehouseError("no route to it"), WarehouseError("no route to it")]
    assert home.bring() == 1
    assert home.warehouse.read("power/n/a.parquet") == b"p" * 1234
    assert len(told) == 2
    assert told[0].startswith("no route to it; trying again for 1 min")
    assert "answers again" in told[1]


def test_traces_of_a_trial_that_another_cluster_has_committed_are_not_replaced(home):
    home.warehouse.write("requests/t.parquet", b"the first")
    home.warehouse.write("trials/t.json", b"{}")
    put(home, "requests/t.parquet", b"the second")
    put(home, "requests/u.parquet", b"ours")
    home.bring()
    assert home.warehouse.read("requests/t.parquet") == b"the first"
    assert home.warehouse.read("requests/u.parquet") == b"ours"


def test_a_full_one_is_not_waited_for(home):
    put(home, "power/n/a.parquet", b"p")
    home.agent.trouble = [DiskFull("no space left")]
    with pytest.raises(DiskFull):
        home.bring()
    assert len(home.agent.pending()) == 1


def test_patience_ends(home):
    home.patience.seconds = 0.0
    put(home, "power/n/a.parquet", b"p")
    home.agent.trouble = [WarehouseError("away")] * 3
    with pytest.raises(WarehouseError, match="away"):
        home.bring()
    assert len(home.agent.pending()) == 1


def test_a_node_that_is_lost_on_the_way_leaves_no_part_of_a_file(home):
    put(home, "power/n/a.parquet", b"p" * 1234)
    home.agent.trouble = [None, NodeLost("gone")] if not home.direct else [NodeLost("gone")]
    with pytest.raises(NodeLost):
        home.bring()
    assert home.warehouse.list("") == []


def test_what_an_earlier_run_left_comes_home_but_for_trials_that_never_counted(tmp_path, told):
    agent = Agent(tmp_path / "outbox", None)
    for name in ("power/n/a.parquet", "requests/t.parquet", "engine_state/t.parquet", "logs/s.log", "nodes/n/b"):
        agent.outbox.files.write(name, b"x")
    home = Home(agent, Warehouse.at(tmp_path / "records"), Patience(told.append, threading.Event(), 1.0))
    assert home.begin() == 2
    assert home.warehouse.list("") == ["logs/s.log", "nodes/n/b", "power/n/a.parquet"]
    assert agent.pending() == []


def test_content_that_changed_on_the_way_never_appears(tmp_path, told):
    agent = Agent(tmp_path / "outbox", None)
    home = Home(agent, Warehouse.at(tmp_path / "records"), Patience(told.append, threading.Event(), 0.0))
    agent.outbox.files.write("logs/s.log", b"said")
    agent.chunk = lambda name, offset: b"sadi"[offset:]
    with pytest.raises(WarehouseError, match="other content"):
        home.bring()
    assert home.warehouse.list("") == []


def test_a_store_that_cannot_be_asked_is_a_user_error(tmp_path, monkeypatch):
    class Away(location.fs.LocalFileSystem):
        def get_file_info(self, _):
            raise OSError("no answer")

    with pytest.raises(WarehouseError, match="no answer"):
        Warehouse("s3://b", Away(), "b").exists("trials")
