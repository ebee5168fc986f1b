"""Who drives a sweep: the first one, until it ends or says nothing for a while. The second follows it to its end."""

import msgspec
import pytest

from joulemark.orchestrator import ray_lease
from joulemark.orchestrator.follow import follow
from joulemark.orchestrator.progress import NodeLine, Progress, save
from joulemark.orchestrator.ray_lease import TTL_S, Driving, _Lease
from joulemark.warehouse.store.location import Warehouse


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(ray_lease.time, "monotonic", lambda: now[0])
    return now


def snapshot(valid=0, state="running"):
    progress = Progress("sweep", 4, 0, valid=valid, state=state)
    progress.line(NodeLine("n", "measuring"))
    return progress.snapshot()


def test_the_second_hears_who_was_first(clock):
    lease = _Lease()
    assert lease.take("a") is None
    assert lease.take("b") == "a"
    assert lease.take("a") is None, "asking once more changes nothing"


def test_a_driver_that_says_nothing_loses_the_lease_and_finds_out(clock):
    lease = _Lease()
    lease.take("a")
    clock[0] += TTL_S / 2
    assert lease.renew("a", b"1") is None
    clock[0] += TTL_S * 0.9
    assert lease.take("b") == "a"
    clock[0] += TTL_S
    assert lease.take("b") is None
    assert lease.renew("a", b"2") == "b"
    assert lease.look()[0] == b"1", "what it says does not count any more"


def test_the_end_leaves_the_lease_to_the_next(clock):
    lease = _Lease()
    lease.take("a")
    lease.end("a", b"the end")
    assert lease.look() == (b"the end", True)
    assert lease.take("b") is None


def test_following_shows_the_steps_and_gives_the_end(tmp_path):
    warehouse, told = Warehouse.at(tmp_path), []
    ended = snapshot(4, "ended")

    def driving():
        yield Driving(None, ended=False)
        yield Driving(snapshot(1), ended=False)
        save(warehouse, ended)
        yield Driving(ended, ended=True)

    assert follow(driving(), warehouse, "sweep", told.append) == ended
    assert told == ["[trial 2 of 4] n: measuring"]


def test_a_driver_that_was_lost_has_no_end(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    save(warehouse, snapshot(1))
    assert follow(iter([Driving(snapshot(1), ended=False)]), warehouse, "sweep", lambda _: None) is None


def test_what_is_passed_on_is_parsed_and_not_unpickled():
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(b'{"sweep": 5}', type=type(snapshot()))
