"""Compaction and retention: fewer files, or none, and the same figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from synthetic import EPOCH_US, TRIAL_US, Meter, Spec, add_trial

from joulemark.warehouse.build.build import build
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.upkeep.compact import compact
from joulemark.warehouse.upkeep.lock import upkeep
from joulemark.warehouse.upkeep.prune import prune
from joulemark.warehouse.views import STORED

TRIALS = 6
FIGURES = (*STORED, "leaderboard", "cell_statistics", "request_energy", "trial_energy", "failures")
RECORDS = ("power", "requests", "tokens")
GPU = Meter("nvml", "GPU-1", "gpu_board", "counter", poll_us=25_000, step_us=100_000)


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    for i in range(TRIALS):
        quantization = "q8_0" if i % 2 else "q4_0"
        add_trial(place, Spec(quantization=quantization, repeat=i // 2, busy_w=50 + i, planned_repeats=3), i)
    return place


def everything(warehouse, names=(*FIGURES, *RECORDS)):
    with open_warehouse(warehouse) as connection:
        assert connection.warnings == ()
        return {n: connection.sql(f"from {n} order by all").to_pylist() for n in names}


def files(warehouse, dataset):
    return warehouse.list(dataset, ".parquet")


def test_compaction_makes_few_files_and_changes_nothing(warehouse):
    before = everything(warehouse)
    told = compact(warehouse, settled_s=0, dry_run=True)
    assert (told.files, told.packs) == (2 * TRIALS, 2)
    done = compact(warehouse, settled_s=0)
    assert (done.files, done.packs, done.warnings) == (2 * TRIALS, 2, ())
    assert [len(files(warehouse, d)) for d in ("power", "requests")] == [1, 1]
    assert everything(warehouse) == before
    assert build(warehouse).energies == 0
    assert compact(warehouse, settled_s=0).packs == 0


def test_figures_computed_from_packs_are_the_same(warehouse):
    before = everything(warehouse)
    compact(warehouse, settled_s=0)
    for name in warehouse.list("built"):
        warehouse.delete(name)
    assert everything(warehouse) == before
    assert build(warehouse).energies == 0


def test_packs_take_in_what_came_later_and_packs(warehouse):
    compact(warehouse, settled_s=0)
    add_trial(warehouse, Spec(repeat=9), TRIALS)
    before = everything(warehouse)
    compact(warehouse, settled_s=0)
    assert [len(files(warehouse, d)) for d in ("power", "requests")] == [1, 1]
    assert everything(warehouse) == before
    snapshot = take(warehouse)
    assert all(snapshot.has(t.path) for name in snapshot.trials for t in snapshot.manifest(name).traces)


def test_what_is_young_or_has_no_manifest_yet_is_left_alone(warehouse):
    assert compact(warehouse).packs == 0
    name = files(warehouse, "requests")[0]
    warehouse.delete(f"trials/{Path(name).stem}.json")
    compact(warehouse, settled_s=0)
    assert name in files(warehouse, "requests")


def test_a_compaction_that_broke_off_counts_nothing_twice(warehouse):
    before = everything(warehouse)
    kept = {n: warehouse.read(n) for n in files(warehouse, "power")[:3]}
    compact(warehouse, settled_s=0)
    for name, content in kept.items():
        warehouse.write(name, content)
    assert everything(warehouse) == before
    compact(warehouse, settled_s=0)
    assert len(files(warehouse, "power")) == 1


def test_a_reader_looks_again_when_files_were_moved(warehouse):
    with open_warehouse(warehouse) as connection:
        rows = connection.sql("select count(*) as n from power").to_pylist()
        compact(warehouse, settled_s=0)
        assert connection.sql("select count(*) as n from power").to_pylist() == rows
        assert connection.sql("select count(*) as n from requests").num_rows == 1


def test_a_build_begins_again_when_files_were_moved(warehouse, monkeypatch):
    import joulemark.warehouse.build.build as module

    real, calls = module.trial_energy_rows, []

    def moved_meanwhile(*arguments):
        calls.append(1)
        if len(calls) == 2:
            compact(warehouse, settled_s=0)
        return real(*arguments)

    monkeypatch.setattr(module, "trial_energy_rows", moved_meanwhile)
    report = build(warehouse)
    assert report.warnings == ()
    assert len(calls) > TRIALS
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trial_results where valid").num_rows == TRIALS


def test_records_that_cannot_be_read_are_left_alone(warehouse):
    name = files(warehouse, "power")[0]
    content = bytearray(warehouse.read(name))
    pages = len(content) - pq.read_metadata(warehouse.path(name)).serialized_size - 8
    content[4 : pages // 2] = bytes(pages // 2 - 4)
    warehouse.write(name, bytes(content))
    done = compact(warehouse, settled_s=0)
    assert [name in w for w in done.warnings] == [True]
    assert len(files(warehouse, "power")) == TRIALS
    assert len(files(warehouse, "requests")) == 1


def test_one_at_a_time(warehouse):
    with upkeep(warehouse), pytest.raises(WarehouseError, match="another compaction"):
        compact(warehouse, settled_s=0)
    assert compact(warehouse, settled_s=0).packs == 2


def test_readers_and_builds_beside_compaction(warehouse):
    script = (
        "import sys; from joulemark.warehouse.query.open import open_warehouse as o\n"
        "for _ in range(8):\n"
        "  with o(sys.argv[1]) as c:\n"
        "    assert c.warnings == (), c.warnings\n"
        "    n = c.sql('select count(*) as n from requests').to_pylist()[0]['n']\n"
        "    assert n == int(sys.argv[2]), n\n"
    )
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("select count(*) as n from requests").to_pylist()
    command = [sys.executable, "-c", script, warehouse.root, str(row["n"])]
    running = [subprocess.Popen(command) for _ in range(2)]
    for i in range(4):
        compact(warehouse, settled_s=0)
        if i < 3:
            # As if it had broken off: the packs go, what they hold comes back.
            continue
    assert [p.wait() for p in running] == [0, 0]


def test_pruning_drops_traces_and_keeps_every_figure(warehouse):
    before = everything(warehouse, FIGURES)
    cut_us = EPOCH_US + 3 * TRIAL_US
    told = prune(warehouse, cut_us, dry_run=True)
    assert (told.trials, told.files, told.left_alone) == (3, 6, ())
    assert len(files(warehouse, "power")) == TRIALS
    done = prune(warehouse, cut_us)
    assert (done.trials, done.files, done.bytes) == (3, 6, told.bytes)
    assert [len(files(warehouse, d)) for d in ("power", "requests")] == [3, 3]
    assert everything(warehouse, FIGURES) == before
    again = prune(warehouse, cut_us)
    assert (again.trials, again.files) == (0, 0)
    for name in warehouse.list("built"):
        warehouse.delete(name)
    assert everything(warehouse, FIGURES) == before


def test_figures_of_pruned_trials_outlive_the_code_that_made_them(warehouse):
    before = everything(warehouse, ("trial_results", "leaderboard"))
    prune(warehouse, EPOCH_US + 3 * TRIAL_US)
    for name in warehouse.list("kept/batches", ".json"):
        record = json.loads(warehouse.read(name))
        warehouse.write(name, json.dumps(record | {"definition": "older"}).encode())
    for name in warehouse.list("built"):
        warehouse.delete(name)
    assert everything(warehouse, ("trial_results", "leaderboard")) == before


def test_a_pack_is_dropped_only_when_all_of_it_is_old(warehouse):
    compact(warehouse, settled_s=0)
    assert prune(warehouse, EPOCH_US + 3 * TRIAL_US).files == 0
    before = everything(warehouse, FIGURES)
    assert prune(warehouse, EPOCH_US + TRIALS * TRIAL_US).files == 2
    assert everything(warehouse, FIGURES) == before


def test_trials_with_damaged_records_keep_their_traces(warehouse):
    add_trial(warehouse, Spec(quantization="f16"), TRIALS)
    snapshot = take(warehouse)
    lost = snapshot.manifest(snapshot.trials[0]).trial
    warehouse.delete(f"requests/{lost}.parquet")
    done = prune(warehouse, EPOCH_US + TRIALS * TRIAL_US)
    assert done.trials == TRIALS - 1
    assert [lost in reason for reason in done.left_alone] == [True]
    assert len(files(warehouse, "power")) == 2
