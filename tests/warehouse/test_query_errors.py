"""Questions that used to end badly: names that come twice, long tables, records damaged where no footer shows it."""

import pytest
from synthetic import Spec, add_trial

from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.output import as_text
from joulemark.warehouse.query.text import Column, lines
from joulemark.warehouse.store.location import Warehouse


@pytest.fixture
def one_trial(tmp_path):
    warehouse = Warehouse.at(tmp_path / "warehouse")
    add_trial(warehouse, Spec(), 0)
    with open_warehouse(warehouse):
        return warehouse


def damaged(warehouse, dataset):
    """Overwrite the pages of one file of a dataset; its footer stays whole."""
    name = warehouse.list(dataset, ".parquet")[0]
    path = warehouse.path(name)
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(b"X" * 120)
    return name


def test_columns_of_the_same_name_are_told_apart(shared):
    table = shared.connection.sql("select 1 as a, 2 as a, 3 as a_2, 4 as a")
    assert table.column_names == ["a", "a_2", "a_2_2", "a_3"]
    assert as_text(table) == "a  a_2  a_2_2  a_3\n1    2      3    4\n"


def test_a_join_without_a_list_of_columns_can_be_shown(shared):
    table = shared.connection.sql("from trials t join requests r on r.trial = t.trial limit 1")
    assert {"trial", "trial_2"} <= set(table.column_names)
    assert table.num_rows == 1


def test_the_width_of_a_column_is_found_once():
    class Counted(list):
        looked_through = 0

        def __iter__(self):
            Counted.looked_through += 1
            return super().__iter__()

    column = Column("n", Counted(str(i) for i in range(200)), right=True)
    assert lines([column], None)[-1] == "199"
    assert Counted.looked_through < 5


@pytest.mark.parametrize("dataset", ["requests", "built/trial_energy", "built/cell_statistics"])
def test_damaged_records_are_named(one_trial, dataset):
    name = damaged(one_trial, dataset)
    with open_warehouse(one_trial) as connection, pytest.raises(WarehouseError) as caught:
        connection.sql(f"from {dataset.removeprefix('built/')}")
    text = str(caught.value)
    assert name in text
    assert "built/ can be deleted" in text
    assert "\n" not in text


def test_a_folder_that_is_no_warehouse_is_left_as_it_is(tmp_path):
    (tmp_path / "letter.txt").write_text("dear all")
    with open_warehouse(tmp_path) as connection:
        assert connection.sql("from leaderboard").num_rows == 0
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]
