"""What users may ask, what they are told when they ask for something else, and how answers are written."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from synthetic import Spec, cells

import joulemark
from joulemark.warehouse.errors import BadInput, QueryError, WarehouseError
from joulemark.warehouse.query import output
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.store.location import Warehouse


def test_a_bare_from_is_a_query(shared):
    assert shared.connection.sql("from leaderboard").num_rows == 4
    assert joulemark.open(shared.warehouse.url).sql("FROM leaderboard LIMIT 1;").num_rows == 1


def test_importing_joulemark_is_cheap():
    code = "import joulemark, sys; print(sorted(m for m in ('duckdb', 'ray', 'pyarrow', 'numpy') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("from leaderbord", 'Did you mean "leaderboard"'),
        ("select modle from leaderboard", 'Candidate bindings: "model"'),
        ("selec 1", "syntax error"),
        ("", "the query is empty"),
        (" ; ", "the query is empty"),
        ("-- nothing", "the query is empty"),
        ("select 1; select 2", "one query at a time"),
        ("drop view power", "only SELECT"),
        ("create table x as select 1", "only SELECT"),
        ("insert into sites (sweep) values ('x')", "only SELECT"),
        ("with x as (insert into sites (sweep) values ('x') returning *) from x", "read-only"),
        ("attach ':memory:' as other", "only SELECT"),
        ("set threads = 1", "only SELECT"),
        ("explain analyze copy (select 1) to 'x.csv'", "only SELECT"),
        ("from read_text('/etc/hostname')", "disabled by configuration"),
        ("from '/etc/hostname'", "hostname"),
        ("from glob('/etc/*')", "disabled by configuration"),
    ],
)
def test_everything_else_is_refused_on_one_line(shared, text, says):
    with pytest.raises(QueryError) as error:
        shared.connection.sql(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert shared.connection.sql("from sites").num_rows == 0


def test_a_query_cannot_write_into_the_warehouse_or_see_variables(shared):
    place = shared.warehouse.path("written.csv")
    with pytest.raises(QueryError):
        shared.connection.sql(f"copy (select 1) to '{place}'")
    assert not shared.warehouse.exists("written.csv")
    with pytest.raises(QueryError, match="does not exist"):
        shared.connection.sql("from shared")


def test_explain_and_describe_work(shared):
    assert shared.connection.sql("explain from leaderboard").num_rows
    assert shared.connection.sql("describe leaderboard").num_rows > 20
    assert shared.connection.sql("show tables").num_rows > 20


def test_no_warehouse_says_what_to_run(tmp_path):
    with pytest.raises(WarehouseError, match="joulemark run"):
        open_warehouse(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["plain", "it's [odd] *name?", "ünï cödé"])
def test_odd_folder_names(tmp_path, name):
    warehouse = Warehouse.at(tmp_path / name)
    cells(warehouse, [Spec()])
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from leaderboard").num_rows == 1


def test_a_store_that_is_no_folder(tmp_path):
    """As an object store is read: through pyarrow, since DuckDB cannot reach it."""
    (tmp_path / "below").mkdir()
    warehouse = Warehouse("mock://", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "below")
    assert not warehouse.local
    cells(warehouse, [Spec(), Spec(quantization="q4_0", busy_w=30.0)])
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        rows = connection.sql("from leaderboard").to_pylist()
        assert [r["quantization"] for r in rows] == ["q4_0", "q8_0"]
        with pytest.raises(QueryError, match="disabled by configuration"):
            connection.sql("from read_text('/etc/hostname')")


def written(table, kind, width=None):
    stream = io.BytesIO()
    output.write(table, kind, stream, width=width)
    return stream.getvalue()


def test_csv_json_and_parquet_hold_everything(shared):
    table = shared.connection.sql("select *, interval 2 days as span from trials order by trial")
    rows = list(csv.DictReader(io.StringIO(written(table, "csv").decode())))
    objects = json.loads(written(table, "json"))
    assert len(rows) == len(objects) == table.num_rows
    assert list(rows[0]) == list(objects[0]) == table.column_names
    for row, thing, truth in zip(rows, objects, table.to_pylist(), strict=True):
        assert row["trial"] == thing["trial"] == truth["trial"]
        assert json.loads(row["nodes"]) == thing["nodes"] == truth["nodes"]
        assert dt.datetime.fromisoformat(thing["started_at"]) == truth["started_at"]
        assert dt.datetime.fromisoformat(row["started_at"]) == truth["started_at"]
        assert (row["error"] or None) == thing["error"] == truth["error"]
    plain = shared.connection.sql("from leaderboard")
    assert pq.read_table(io.BytesIO(written(plain, "parquet"))).equals(plain)


def test_a_table_fits_the_terminal_and_says_what_does_not(shared):
    table = shared.connection.sql("from leaderboard")
    text = written(table, "table", width=80).decode()
    body, last = text.splitlines()[:-1], text.splitlines()[-1]
    assert max(len(line) for line in body) <= 80
    assert "more columns do not fit" in last
    assert "grade" in last
    piped = written(table, "table").decode().splitlines()
    assert len(piped) == 5
    assert all(name in piped[0] for name in table.column_names)


def test_long_answers_are_cut_on_a_terminal_only(shared):
    table = shared.connection.sql("select range as n from range(1000)")
    assert "200 of 1000 rows" in written(table, "table", width=80).decode()
    assert len(written(table, "table").decode().splitlines()) == 1001


def test_null_is_not_empty_text(shared):
    table = shared.connection.sql("select NULL as a, '' as b, 'x' as c")
    assert written(table, "table").decode().splitlines()[1].split() == ["NULL", "x"]


def test_an_unknown_format(shared):
    with pytest.raises(BadInput, match="parquet"):
        written(shared.connection.sql("select 1"), "xml")
