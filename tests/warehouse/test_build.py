"""The build step: incremental, idempotent, and neither stopped nor silenced by what it cannot read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from synthetic import Spec, add_trial, cells, manifest

import joulemark.warehouse.build.merge
from joulemark.warehouse.build.build import build
from joulemark.warehouse.query.connection import define
from joulemark.warehouse.query.groups import GROUPS
from joulemark.warehouse.query.open import open_snapshot, open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.columns import SCHEMA_VERSION_KEY
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.views import STORED, WHOLE


def built(warehouse):
    root = Path(warehouse.root) / "built"
    return {str(p.relative_to(root)): (p.stat().st_ino, p.read_bytes()) for p in root.rglob("*") if p.is_file()}


def break_pages(path):
    """Overwrite the pages of a file and leave its footer whole."""
    content = bytearray(path.read_bytes())
    pages = len(content) - pq.read_metadata(path).serialized_size - 8
    content[4 : pages // 2] = bytes(pages // 2 - 4)
    path.write_bytes(bytes(content))


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    cells(place, [Spec()])
    return place


def test_a_second_build_does_nothing(warehouse):
    first = build(warehouse)
    assert (first.energies, first.shares, first.statistics, first.warnings) == (2, 2, True, ())
    before = built(warehouse)
    second = build(warehouse)
    assert (second.energies, second.shares, second.statistics) == (0, 0, False)
    assert built(warehouse) == before


def test_only_the_new_trial_is_built_and_statistics_follow(warehouse):
    build(warehouse)
    before = built(warehouse)
    add_trial(warehouse, Spec(repeat=2, busy_w=51.0), 7)
    report = build(warehouse)
    assert (report.energies, report.shares, report.statistics) == (1, 1, True)
    after = built(warehouse)
    assert {n for n in before if after[n] != before[n]} == {
        "cell_statistics/all.parquet",
        "cell_statistics/inputs.json",
        "lever_effects/all.parquet",
        "node_differences/all.parquet",
        "sweep_drift/all.parquet",
    }
    (row,) = pq.read_table(warehouse.path("built/cell_statistics/all.parquet")).to_pylist()
    assert row["trials"] == 3


def test_what_is_built_can_be_deleted_and_comes_back_the_same(warehouse):
    build(warehouse)
    before = {n: c for n, (_, c) in built(warehouse).items()}
    for name in before:
        os.unlink(warehouse.path(f"built/{name}"))
    build(warehouse)
    assert {n: c for n, (_, c) in built(warehouse).items()} == before


@pytest.mark.parametrize("dataset", ["trial_energy", "trial_results", "request_energy", "cell_statistics"])
def test_a_broken_built_file_is_built_again(warehouse, dataset):
    build(warehouse)
    before = {n: c for n, (_, c) in built(warehouse).items()}
    (name,) = warehouse.list(f"built/{dataset}", ".parquet")
    warehouse.write(name, b"PAR1 half a file")
    report = build(warehouse)
    assert [name in w for w in report.warnings] == [True]
    assert {n: c for n, (_, c) in built(warehouse).items()} == before
    assert build(warehouse).warnings == ()


def test_what_other_code_computed_is_built_again_and_goes(warehouse):
    build(warehouse)
    before = {n: c for n, (_, c) in built(warehouse).items()}
    for name in warehouse.list("built/batches", ".json"):
        record = json.loads(warehouse.read(name)) | {"definition": "older"}
        warehouse.write(name.replace(record["batch"], "0" * 16), json.dumps(record | {"batch": "0" * 16}).encode())
        warehouse.delete(name)
        for dataset in record["sizes"]:
            file = f"built/{dataset}/{record['batch']}.parquet"
            warehouse.write(file.replace(record["batch"], "0" * 16), b"wrong")
    report = build(warehouse)
    assert (report.energies, report.shares, report.statistics, report.warnings) == (2, 2, True, ())
    assert {n: c for n, (_, c) in built(warehouse).items()} == before


def test_many_small_batches_become_one_and_nothing_changes(warehouse, monkeypatch):
    monkeypatch.setattr(joulemark.warehouse.build.merge, "BATCHES_AT_MOST", 3)
    for i in range(4):
        add_trial(warehouse, Spec(quantization=f"q{i}"), 10 + i)
        build(warehouse)
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        rows = connection.sql("from trial_results order by trial")
        assert {g: len(b) for g, b in connection.snapshot.batches.items()} == dict.fromkeys(GROUPS, 1)
        shares = connection.sql("from request_energy order by all")
    shutil.rmtree(warehouse.path("built"))
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trial_results order by trial").equals(rows)
        assert connection.sql("from request_energy order by all").equals(shares)


def test_stored_views_hold_what_the_views_compute(warehouse):
    add_trial(warehouse, Spec(quantization="f16", fail_every=3), 9)
    snapshot = build(warehouse).snapshot
    computed = duckdb.connect()
    computed.execute("SET TimeZone = 'UTC'")
    define(computed, snapshot)
    with open_snapshot(snapshot) as connection:
        for name in STORED:
            for query in (f"from {name} order by all", f"describe {name}"):
                assert connection.sql(query).equals(computed.sql(query).to_arrow_table()), query


def test_views_over_all_trials_are_written_and_never_read_for_other_trials(warehouse):
    add_trial(warehouse, Spec(quantization="f16", nodes=("node-b",)), 9)
    build(warehouse)
    computed = duckdb.connect()
    computed.execute("SET TimeZone = 'UTC'")
    define(computed, take(warehouse))
    with open_warehouse(warehouse) as connection:
        assert all(connection.snapshot.files[v] for v in WHOLE)
        for name in WHOLE:
            for query in (f"from {name} order by all", f"describe {name}"):
                assert connection.sql(query).equals(computed.sql(query).to_arrow_table()), query
    truth = add_trial(warehouse, Spec(quantization="q2_k"), 10)
    build(warehouse, only=(truth.trial,))
    with open_warehouse(warehouse, build_first=False) as connection:
        assert not any(connection.snapshot.files[v] for v in WHOLE)
        assert truth.cell in connection.sql("from cell_results")["cell"].to_pylist()
    with open_warehouse(warehouse) as connection:
        assert all(connection.snapshot.files[v] for v in WHOLE)
        assert truth.cell in connection.sql("from cell_results")["cell"].to_pylist()


def test_records_that_come_back_renew_the_figures_of_their_trial_only(warehouse):
    truth = add_trial(warehouse, Spec(quantization="f16"), 9)
    name = f"requests/{truth.trial}.parquet"
    content = warehouse.read(name)
    warehouse.delete(name)
    assert build(warehouse).energies == 3
    assert build(warehouse).energies == 0
    warehouse.write(name, content)
    report = build(warehouse)
    assert (report.energies, report.statistics, report.warnings) == (1, True, ())
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from failures").num_rows == 0
        assert connection.sql("from trial_results").num_rows == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("trials/broken.json", b"{", "not a trial manifest"),
        ("trials/newer.json", b'{"schema_version": 99}', "newer joulemark"),
        ("power/node-a/zzz.parquet", b"PAR1", "not a whole Parquet file"),
        ("requests/zzz.parquet", b"", "not a whole Parquet file"),
        ("sweeps/made-up/site.json", b"[1]", "not a site record"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_goes_on(warehouse, name, content, says):
    warehouse.write(name, content)
    with open_warehouse(warehouse) as connection:
        assert [name in w and says in w for w in connection.warnings] == [True]
        assert connection.sql("from leaderboard").num_rows == 1
        assert connection.sql("from power").num_rows > 0
        assert connection.sql("from requests").num_rows > 0


def test_a_file_of_a_newer_schema_is_left_out(warehouse):
    name = warehouse.list("power", ".parquet")[0]
    table = pq.read_table(warehouse.path(name))
    newer = table.replace_schema_metadata(table.schema.metadata | {SCHEMA_VERSION_KEY: b"99"})
    pq.write_table(newer, warehouse.path("power/node-a/newer.parquet"))
    with open_warehouse(warehouse) as connection:
        assert "upgrade joulemark" in connection.warnings[0]
        assert connection.sql("from leaderboard").num_rows == 1


def test_broken_pages_behind_a_whole_footer(warehouse):
    name = warehouse.list("power", ".parquet")[0]
    break_pages(Path(warehouse.path(name)))
    report = build(warehouse)
    assert len(report.warnings) == 1
    assert name in report.warnings[0]
    with open_warehouse(warehouse) as connection:
        assert connection.sql("select reasons from failures").to_pylist() == [{"reasons": ["no_power"]}]


def test_broken_pages_of_one_trial_s_requests_do_not_stop_the_others(warehouse):
    truth = add_trial(warehouse, Spec(quantization="f16"), 9)
    break_pages(Path(warehouse.path(f"requests/{truth.trial}.parquet")))
    for _ in range(2):
        with open_warehouse(warehouse) as connection:
            assert [truth.trial in w and "cannot be read" in w for w in connection.warnings] == [True]
            assert connection.sql("from leaderboard").num_rows == 1
            assert connection.sql("from failures").num_rows == 1


def test_one_trial_s_verdict_looks_at_no_other_trial(warehouse):
    build(warehouse)
    truth = add_trial(warehouse, Spec(quantization="f16"), 9)
    other = add_trial(warehouse, Spec(quantization="q2_k"), 10)
    report = build(warehouse, only=(truth.trial,))
    assert (report.energies, report.shares, report.statistics) == (1, 1, False)
    with open_snapshot(report.snapshot) as connection:
        assert connection.sql("select trial, valid from trial_results").to_pylist() == [
            {"trial": truth.trial, "valid": True}
        ]
    assert build(warehouse).energies == 1
    with open_warehouse(warehouse) as connection:
        assert other.trial in connection.sql("from trial_results")["trial"].to_pylist()


def test_two_builds_at_once(warehouse):
    for i in range(6):
        add_trial(warehouse, Spec(model=f"m{i}"), 10 + i)
    script = (
        "import sys; from joulemark.warehouse.query.open import open_warehouse as o; print(o(sys.argv[1]).warnings)"
    )
    command = [sys.executable, "-c", script, warehouse.root]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [p.communicate()[0] for p in running] == ["()\n"] * 3
    report = build(warehouse)
    assert (report.energies, report.shares, report.statistics, report.warnings) == (0, 0, False, ())


def test_the_second_commit_of_a_trial_is_not_counted(warehouse):
    first = manifest(Spec(), 1_760_000_000_123_457)
    assert not commit(warehouse, replace(first, error="another cluster"))
    report = build(warehouse)
    assert report.energies == 2
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trials").num_rows == 2
        assert connection.sql("from manifests where duplicate_of is not null").num_rows == 1


def test_to_commit_the_same_once_more_is_no_duplicate(tmp_path):
    empty = Warehouse.at(tmp_path / "empty")
    one = manifest(Spec(), 7)
    assert [commit(empty, one) for _ in range(3)] == [True] * 3
    assert len(empty.list("trials")) == 1


def test_a_trial_without_requests_is_there_and_invalid(warehouse):
    truth = add_trial(warehouse, Spec(quantization="f16"), 9)
    os.unlink(warehouse.path(f"requests/{truth.trial}.parquet"))
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from failures").to_pylist()
        assert row["reasons"] == ["window_too_short"]
        rows = connection.sql(f"from request_energy where trial = '{truth.trial}'").to_pylist()
    assert [(r["request"], round(r["energy_j"], 6)) for r in rows] == [(None, 500.0)]


def test_where_nothing_can_be_written_the_last_build_is_used(warehouse, monkeypatch):
    build(warehouse)
    add_trial(warehouse, Spec(quantization="f16"), 9)

    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("joulemark.warehouse.store.location.os.replace", refuse)
    with open_warehouse(warehouse) as connection:
        assert "newest trials are not in the figures" in connection.warnings[0]
        assert "Permission denied" in connection.warnings[0]
        assert connection.sql("from leaderboard").num_rows == 1
        assert connection.sql("from trials").num_rows == 3


def test_built_files_fit_their_schemas(warehouse):
    build(warehouse)
    for dataset in ("trial_energy", "request_energy", "cell_statistics"):
        for name in warehouse.list(f"built/{dataset}", ".parquet"):
            schema = pq.read_schema(warehouse.path(name))
            assert (schema.names, schema.metadata) == (DATASETS[dataset].arrow.names, DATASETS[dataset].arrow.metadata)
            assert [f.nullable for f in schema] == [c.nullable for c in DATASETS[dataset].columns]
