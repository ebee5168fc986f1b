"""A warehouse has one id, whatever path leads to it."""

import pytest

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.whose import FILE, ensure_id, id_of


def test_it_is_given_once_and_found_by_every_path(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "records")
    one, other = Warehouse.at(tmp_path / "records"), Warehouse.at(f"file://{tmp_path}/link")
    assert id_of(one) is None
    given = ensure_id(one)
    assert given == ensure_id(one) == id_of(other)
    assert ensure_id(Warehouse.at(tmp_path / "else")) != given


def test_it_is_no_record(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    ensure_id(warehouse)
    assert warehouse.list("") == []


def test_a_damaged_one_is_said(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(WarehouseError, match="delete it"):
        id_of(Warehouse.at(tmp_path))
