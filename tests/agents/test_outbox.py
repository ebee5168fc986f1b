"""What waits on a node: listed with its digest, sent in pieces, there until it is forgotten."""

import threading

import pytest

from joulemark.agents.outbox import CHUNK_BYTES, Outbox, arrived, reaches
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.whose import ensure_id


@pytest.fixture
def outbox(tmp_path):
    made = Outbox(tmp_path / "outbox", "w1")
    made.files.write("power/n1/a.parquet", b"x" * (CHUNK_BYTES + 5))
    made.files.write("logs/s.log", b"said")
    return made


def test_each_warehouse_has_its_own(outbox, tmp_path):
    assert [s.name for s in outbox.pending()] == ["logs/s.log", "power/n1/a.parquet"]
    assert Outbox(tmp_path / "outbox", "w2").pending() == []


def test_pieces_make_the_whole(outbox):
    sealed = outbox.pending()[1]
    pieces = [outbox.chunk(sealed.name, at) for at in (0, CHUNK_BYTES)]
    assert [len(p) for p in pieces] == [CHUNK_BYTES, 5]
    assert sum(map(len, pieces)) == sealed.size


def test_a_copy_is_read_back(outbox, tmp_path):
    warehouse = Warehouse.at(tmp_path / "records")
    outbox.upload(warehouse, outbox.pending())
    assert warehouse.read("logs/s.log") == b"said"
    assert len(outbox.pending()) == 2, "it counts only once it is committed"
    outbox.forget(["logs/s.log", "power/n1/a.parquet", "never/there"])
    assert outbox.pending() == []


def test_a_folder_of_the_same_path_that_is_another_one_is_not_the_warehouse(tmp_path, monkeypatch):
    mine = ensure_id(Warehouse.at(tmp_path / "records"))
    assert reaches(str(tmp_path / "records"), mine)
    assert not reaches(str(tmp_path / "records"), "another")
    assert not reaches(str(tmp_path / "nowhere"), mine)
    never = threading.Event()
    monkeypatch.setattr("joulemark.agents.outbox.id_of", lambda _: never.wait() and mine)
    assert not reaches(str(tmp_path / "records"), mine, within_s=0.05), "a store that does not answer"
    never.set()


def test_a_damaged_copy_is_seen(outbox, tmp_path):
    warehouse = Warehouse.at(tmp_path / "records")
    sealed = outbox.pending()[0]
    warehouse.write(sealed.name, b"sadi")
    with pytest.raises(WarehouseError, match="other content"):
        arrived(warehouse, sealed)
