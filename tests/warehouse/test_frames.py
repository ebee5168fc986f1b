"""Answers as Arrow, pandas and polars, and the limits of a query."""

from __future__ import annotations

import sys

import pytest

import joulemark
from joulemark.warehouse.errors import MissingTool, QueryError
from joulemark.warehouse.query.open import open_warehouse

QUERY = "from trial_results select trial, valid, devices, energy_j, started_at, reasons order by trial"


@pytest.fixture(scope="module")
def opened(shared):
    with joulemark.open(shared.warehouse.url) as connection:
        yield connection


def test_pandas(opened):
    pytest.importorskip("pandas")
    frame = opened.pandas(QUERY)
    table = opened.sql(QUERY)
    assert frame["trial"].tolist() == table["trial"].to_pylist()
    assert frame["energy_j"].tolist() == table["energy_j"].to_pylist()
    assert str(frame["started_at"].dtype) == "datetime64[us, UTC]"
    counted = opened.pandas("select unnest([1, NULL]::integer[]) as n, unnest([true, NULL]) as b")
    assert [str(t) for t in counted.dtypes] == ["Int32", "boolean"]


def test_polars(opened):
    pytest.importorskip("polars")
    frame = opened.polars(QUERY)
    assert frame["trial"].to_list() == opened.sql(QUERY)["trial"].to_pylist()
    assert str(frame.schema["started_at"]) == "Datetime(time_unit='us', time_zone='UTC')"
    assert frame["reasons"].to_list() == opened.sql(QUERY)["reasons"].to_pylist()


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_missing_library_says_what_to_install(opened, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingTool, match=rf"pip install 'joulemark\[{name}\]'"):
        getattr(opened, name)("select 1 as a")
    assert opened.sql("select 1 as a").num_rows == 1


def test_a_query_that_takes_too_long_is_ended_and_the_next_one_works(shared):
    with open_warehouse(shared.warehouse, timeout_s=0.3) as connection:
        with pytest.raises(QueryError, match=r"longer than 0\.3 s; .*--timeout"):
            connection.sql("select sum(a.range * b.range) from range(10000000) a, range(10000000) b")
        assert connection.sql("from leaderboard").num_rows == 4


def test_a_query_that_needs_too_much_memory_is_ended(shared):
    with open_warehouse(shared.warehouse, memory_bytes=64 << 20) as connection:
        with pytest.raises(QueryError, match=r"more than 64 MiB of memory; .*--memory"):
            connection.sql("select list(range order by hash(range)) from range(50000000)")
        assert connection.sql("from leaderboard").num_rows == 4


def test_an_answer_that_is_too_long_to_hold_is_ended(shared):
    with open_warehouse(shared.warehouse, memory_bytes=64 << 20) as connection:
        with pytest.raises(QueryError, match="the answer takes more than 32 MiB"):
            connection.sql("select range, range + 1 from range(1000000000000)")
        assert connection.sql("from leaderboard").num_rows == 4


@pytest.mark.parametrize(
    "query",
    [
        "from read_text('{}/../outside.txt')",
        "from read_text('{}/link.txt')",
        "from read_csv('https://example.org/x.csv')",
        "from read_parquet('s3://bucket/x.parquet')",
        "select * from duckdb_secrets()",
        "from sniff_csv('/etc/passwd')",
    ],
)
def test_nothing_beyond_the_warehouse_can_be_read(tmp_path, query):
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "link.txt").symlink_to(tmp_path / "outside.txt")
    with open_warehouse(tmp_path / "w") as connection, pytest.raises(QueryError) as caught:
        connection.sql(query.format(tmp_path / "w"))
    assert "secret" not in str(caught.value).replace("stored_secrets", "").replace("duckdb_secrets", "")
