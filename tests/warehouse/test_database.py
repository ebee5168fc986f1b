"""The DuckDB file: all views and macros in a plain client, replaced as a whole."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
from synthetic import Spec, add_trial, cells

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.query.database import write_database
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.views import MACROS, ORDER

QUERY = "from leaderboard order by all"


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    cells(place, [Spec(), Spec(quantization="q4_0")])
    return place


def written(warehouse, path):
    with open_warehouse(warehouse) as connection:
        write_database(connection.snapshot, path)
        return connection.sql(QUERY).to_pylist()


def test_a_plain_client_sees_every_view_and_macro(warehouse, tmp_path, monkeypatch):
    expected = written(warehouse, tmp_path / "file.duckdb")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "file.duckdb").rename(tmp_path / "elsewhere" / "moved.duckdb")
    monkeypatch.chdir("/")
    with duckdb.connect(str(tmp_path / "elsewhere" / "moved.duckdb"), read_only=True) as plain:
        assert plain.sql(QUERY).to_arrow_table().to_pylist() == expected
        for name in set(ORDER) - set(MACROS):
            plain.sql(f"from {name}").to_arrow_table()
        assert plain.sql("from cost(2.5, 0.12, 1.3, false)").to_arrow_table().num_rows == 2
        assert plain.sql("from power").to_arrow_table().num_rows > 0


def test_several_programs_read_it_at_once(warehouse, tmp_path):
    written(warehouse, tmp_path / "file.duckdb")
    script = "import duckdb, sys; print(len(duckdb.connect(sys.argv[1], read_only=True).sql('from trials').fetchall()))"
    # No driver of ours, and no time zone library: instants are left out.
    script = script.replace("from trials", "select trial from trials")
    command = [sys.executable, "-c", script, str(tmp_path / "file.duckdb")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [p.communicate()[0] for p in running] == ["4\n"] * 3


def test_it_is_replaced_as_a_whole_while_someone_reads_it(warehouse, tmp_path):
    path = tmp_path / "file.duckdb"
    written(warehouse, path)
    with duckdb.connect(str(path), read_only=True) as reader:
        add_trial(warehouse, Spec(quantization="f16"), 9)
        written(warehouse, path)
        assert reader.sql("select count(*) from manifests").fetchall() == [(4,)]
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.sql("select count(*) from manifests").fetchall() == [(5,)]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_other_files_are_not_replaced(warehouse, tmp_path):
    (tmp_path / "letter.txt").write_text("dear all")
    with pytest.raises(BadInput, match="no DuckDB file"):
        written(warehouse, tmp_path / "letter.txt")
    with pytest.raises(BadInput, match="no DuckDB file"):
        written(warehouse, tmp_path)
    with pytest.raises((BadInput, Exception), match="cannot write"):
        written(warehouse, tmp_path / "nowhere" / "file.duckdb")
