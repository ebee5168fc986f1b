"""Warehouses of earlier versions: the same figures, later columns are NULL, and both kinds beside each other."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import Spec, add_trial, cells

sys.path.insert(0, str(Path(__file__).parent / "released"))

from make import figures

from joulemark import __version__
from joulemark.warehouse.query.database import write_database
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.parquet import write_table
from joulemark.warehouse.upkeep.compact import compact

RELEASED = Path(__file__).parent / "released"
EARLIER = [(d.name, v) for d in DATASETS.values() if d.added for v in range(1, d.version)]


@pytest.fixture(params=sorted(p.stem for p in RELEASED.glob("*.tar")))
def released(request, tmp_path):
    """Return a warehouse that a released version wrote, and its figures."""
    with tarfile.open(RELEASED / f"{request.param}.tar") as file:
        file.extractall(tmp_path / "warehouse", filter="data")
    return Warehouse.at(tmp_path / "warehouse"), json.loads((RELEASED / f"{request.param}.json").read_text())


def approximately(rows):
    return [{k: pytest.approx(v, rel=1e-6) if isinstance(v, float) else v for k, v in r.items()} for r in rows]


def test_this_version_is_kept_too():
    assert (RELEASED / f"{__version__}.tar").exists(), "python tests/warehouse/released/make.py"


def test_figures_of_a_released_version_s_sweep_stay(released):
    warehouse, expected = released
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        found = figures(connection)
    for name, rows in expected.items():
        assert rows
        assert found[name] == approximately(rows), name


def test_it_takes_in_new_trials_and_is_put_together(released):
    warehouse, expected = released
    trials = {r["trial"] for r in expected["trials"]}
    add_trial(warehouse, Spec(quantization="f16"), 9)
    assert compact(warehouse, settled_s=-60).packs
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        found = [r for r in figures(connection)["trials"] if r["trial"] in trials]
        assert connection.sql("from trials").num_rows == len(trials) + 1
    assert found == approximately(expected["trials"])


def as_written_by(version, dataset, table):
    """Return the table as an earlier version of the dataset would have written it."""
    kept = [c for c in table.column_names if c not in dataset.missing_in(version)]
    return table.select(kept).replace_schema_metadata(
        {**dataset.arrow.metadata, SCHEMA_VERSION_KEY: str(version).encode()}
    )


def written_by(warehouse, dataset, version, name):
    table = as_written_by(version, dataset, pq.read_table(warehouse.path(name)))
    pq.write_table(table, warehouse.path(name))


def anything(kind):
    return "x" if pa.types.is_string(kind) else [] if pa.types.is_list(kind) else 0


@pytest.mark.parametrize(("name", "version"), EARLIER)
def test_columns_that_came_later_are_null(tmp_path, name, version):
    warehouse, dataset = Warehouse.at(tmp_path), DATASETS[name]
    cells(warehouse, [Spec()])
    row = {c.name: None if c.nullable else anything(c.type) for c in dataset.columns}
    table = pa.Table.from_pylist([row] * 2, schema=dataset.arrow)
    for file in ("old", "new"):
        write_table(warehouse, dataset, f"{name}/{file}.parquet", table)
    written_by(warehouse, dataset, version, f"{name}/old.parquet")
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        found = connection.sql(f"from {name} select * where {dataset.columns[0].name} = 'x'")
        assert found.column_names == dataset.arrow.names
        assert found.num_rows == 4
        assert all(found[c].null_count == 4 for c in dataset.missing_in(version))
        write_database(connection.snapshot, tmp_path / "all.duckdb")


def test_requests_of_every_version_give_the_same_figures(tmp_path):
    warehouse, dataset = Warehouse.at(tmp_path), DATASETS["requests"]
    cells(warehouse, [Spec()], repeats=dataset.version)
    with open_warehouse(warehouse) as connection:
        before = figures(connection)
    for version, name in enumerate(warehouse.list("requests", ".parquet"), 1):
        written_by(warehouse, dataset, version, name)
    for name in warehouse.list("built"):
        warehouse.delete(name)
    assert "requests" in take(warehouse).older
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        assert figures(connection) == before
