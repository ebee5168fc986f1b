"""Opening looks into what is new, and trusts what it has seen; files of earlier versions are read as they are."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import Spec, add_trial, cells

import joulemark.warehouse.query.known
import joulemark.warehouse.query.snapshot
from joulemark.warehouse.build.build import build
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.store.location import Warehouse


@pytest.fixture
def looked_at(monkeypatch):
    """Every file that is looked into."""
    found = []
    module = joulemark.warehouse.query.snapshot
    monkeypatch.setattr(joulemark.warehouse.query.known, "WORTH_KEEPING", 1)
    for name in ("_footer", "decode"):
        real = getattr(module, name)

        def counted(*arguments, real=real):
            found.append(next(a for a in arguments if isinstance(a, str)))
            return real(*arguments)

        monkeypatch.setattr(module, name, counted)
    return found


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    cells(place, [Spec(), Spec(quantization="q4_0")])
    return place


def test_only_new_files_are_looked_into(warehouse, looked_at):
    build(warehouse)
    assert len(looked_at) >= 12
    build(warehouse)
    looked_at.clear()
    assert len(take(warehouse).trials) == 4
    assert looked_at == []
    truth = add_trial(warehouse, Spec(quantization="f16"), 9)
    assert len(take(warehouse).trials) == 5
    assert sorted(looked_at) == sorted(
        ["power/node-a/000009.parquet", f"requests/{truth.trial}.parquet", f"trials/{truth.trial}.json"]
    )


def test_a_file_that_changed_is_looked_into_again(warehouse, looked_at):
    build(warehouse)
    build(warehouse)
    name = warehouse.list("power", ".parquet")[0]
    looked_at.clear()
    warehouse.write(name, warehouse.read(name))
    take(warehouse)
    assert looked_at == [name]
    warehouse.write(name, b"PAR1")
    assert [name in w for w in take(warehouse).warnings] == [True]
    # And so is one that was damaged, as long as it is.
    assert [name in w for w in take(warehouse).warnings] == [True]


def test_a_trial_that_was_taken_away_is_gone(warehouse, looked_at):
    build(warehouse)
    build(warehouse)
    gone = take(warehouse).trials[0]
    warehouse.delete(f"trials/{gone}.json")
    assert gone not in take(warehouse).trials
    with open_warehouse(warehouse) as connection:
        assert gone not in connection.sql("from trials")["trial"].to_pylist()
        assert connection.sql("from leaderboard")["trials"].to_pylist() in ([1, 2], [2, 1])


def test_what_was_seen_can_be_damaged_or_deleted(warehouse, looked_at):
    build(warehouse)
    for name in (*warehouse.list("built/known"), *warehouse.list("built/manifests")):
        warehouse.write(name, b"PAR1 half a file")
    assert len(take(warehouse).trials) == 4
    for name in (*warehouse.list("built/known"), *warehouse.list("built/manifests")):
        os.unlink(warehouse.path(name))
    assert len(take(warehouse).trials) == 4


def test_many_files_of_what_was_seen_become_one(warehouse, looked_at, monkeypatch):
    monkeypatch.setattr(joulemark.warehouse.query.known, "FILES_AT_MOST", 2)
    for i in range(4):
        add_trial(warehouse, Spec(quantization=f"x{i}"), 10 + i)
        build(warehouse)
    assert len(warehouse.list("built/manifests")) <= 3
    looked_at.clear()
    build(warehouse)
    assert len(take(warehouse).trials) == 8
    assert [n for n in looked_at if n.startswith("trials/")] == []


def without_columns_of_later_versions(warehouse, dataset):
    """Make version-1 files of all files of a dataset, as the first release wrote them."""
    added = {name for _, names in DATASETS[dataset].added for name in names}
    assert added
    for name in warehouse.list(dataset, ".parquet"):
        table = pq.read_table(warehouse.path(name)).drop_columns(sorted(added))
        metadata = table.schema.metadata | {SCHEMA_VERSION_KEY: b"1"}
        pq.write_table(table.replace_schema_metadata(metadata), warehouse.path(name))


@pytest.mark.parametrize("dataset", [d.name for d in DATASETS.values() if d.added])
def test_files_of_version_1_are_read_with_null_for_what_came_later(warehouse, dataset):
    schema = DATASETS[dataset]
    if not warehouse.exists(dataset):
        rows = [{c.name: _any_value(c.type) for c in schema.columns}]
        with warehouse.writing(f"{dataset}/x.parquet") as stream:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema.arrow), stream)
    without_columns_of_later_versions(warehouse, dataset)
    newest = {name for _, names in schema.added for name in names}
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        before = connection.sql("from leaderboard").num_rows
        old = connection.sql(f"from {dataset}")
        assert old.num_rows
        assert all(old[name].null_count == old.num_rows for name in newest)
        assert old.column_names == schema.arrow.names
    assert before == 2
    if dataset == "requests":
        add_trial(warehouse, Spec(quantization="f16"), 9)
        with open_warehouse(warehouse) as connection:
            assert connection.sql("from leaderboard").num_rows == 3
            assert connection.sql(f"from {dataset}").num_rows > old.num_rows


def _any_value(kind):
    if pa.types.is_string(kind):
        return "x"
    if pa.types.is_timestamp(kind) or pa.types.is_integer(kind):
        return 1
    return 1.0 if pa.types.is_floating(kind) else None
