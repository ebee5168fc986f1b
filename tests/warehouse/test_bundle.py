"""A sweep as one folder or file: whole, checked, a warehouse of its own, and brought back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from synthetic import EPOCH_US, TRIAL_US, Spec, add_trial

from joulemark.warehouse.bundle.bring_back import bring_back, is_bundle, verify
from joulemark.warehouse.bundle.export import export
from joulemark.warehouse.errors import BadInput, WarehouseError
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.upkeep.compact import compact
from joulemark.warehouse.upkeep.prune import prune

VIEWS = ("leaderboard", "trial_results", "request_energy", "failures")


@pytest.fixture
def warehouse(tmp_path):
    place = Warehouse.at(tmp_path / "warehouse")
    for i in range(4):
        add_trial(place, Spec(repeat=i // 2, sweep=("one", "two")[i % 2], quantization=f"q{i % 2}"), i)
    place.write("sweeps/one/site.json", b'{"gpu_hour": 2.0}')
    place.write("sweeps/two/site.json", b'{"gpu_hour": 3.0}')
    return place


def asked(place, sweep="one"):
    with open_warehouse(place) as connection:
        assert connection.warnings == ()
        cells = {r["cell"] for r in connection.sql(f"from trials where sweep = '{sweep}'").to_pylist()}
        trials = {r["trial"] for r in connection.sql(f"from trials where sweep = '{sweep}'").to_pylist()}
        found = {}
        for view in VIEWS:
            rows = connection.sql(f"from {view} order by all").to_pylist()
            found[view] = [
                {k: v for k, v in r.items() if "rank" not in k}
                for r in rows
                if r.get("trial", next(iter(trials))) in trials and r.get("cell", next(iter(cells))) in cells
            ]
        return found


@pytest.mark.parametrize("name", ["one", "one.tar"])
def test_there_and_back(warehouse, tmp_path, name):
    before = asked(warehouse)
    done = export(take(warehouse), "one", tmp_path / "out" / name)
    assert (done.trials, done.files) == (2, 7)
    bundle = tmp_path / "out" / name
    assert is_bundle(bundle)
    assert verify(bundle).trials == 2
    other = Warehouse.at(tmp_path / "other")
    back = bring_back(other, bundle)
    assert (back.files, back.trials, back.new) == (7, 2, 7)
    assert asked(other) == before
    assert bring_back(other, bundle).new == 0
    assert bring_back(warehouse, bundle).new == 0
    assert asked(warehouse) == before


def test_a_folder_is_a_warehouse_and_others_can_check_it(warehouse, tmp_path):
    before = asked(warehouse)
    export(take(warehouse), "one", tmp_path / "out")
    assert asked(tmp_path / "out") == before
    assert verify(tmp_path / "out").files == 7
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", check=True)


def test_records_come_out_of_packs_as_they_were(warehouse, tmp_path):
    before = asked(warehouse)
    names = [
        t.path
        for n in take(warehouse).trials
        for t in take(warehouse).manifest(n).traces
        if take(warehouse).manifest(n).sweep == "one"
    ]
    compact(warehouse, settled_s=0)
    export(take(warehouse), "one", tmp_path / "out")
    assert all((tmp_path / "out" / n).is_file() for n in names)
    assert len(list((tmp_path / "out" / "power").rglob("*.parquet"))) == 2
    assert asked(tmp_path / "out") == before


def test_what_was_kept_of_pruned_trials_goes_along(warehouse, tmp_path):
    before = asked(warehouse)
    prune(warehouse, EPOCH_US + 4 * TRIAL_US)
    export(take(warehouse), "one", tmp_path / "one.tar")
    other = Warehouse.at(tmp_path / "other")
    bring_back(other, tmp_path / "one.tar")
    assert not other.exists("power")
    assert asked(other) == before


def damage_content(folder):
    path = next((folder / "requests").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"X")


def lose_a_file(folder):
    next((folder / "requests").iterdir()).unlink()


def add_a_file(folder):
    (folder / "requests" / "more.parquet").write_bytes(b"")


def lose_the_sums(folder):
    (folder / "SHA256SUMS").write_text("nothing\n")


def leave_the_folder(folder):
    (folder.parent / "outside").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{digest}  trials/../../outside\n")


def forge(folder):
    """Change a trace and its checksum: the manifest still tells what it was."""
    path = next((folder / "requests").iterdir())
    other = next(p for p in (folder / "requests").iterdir() if p != path)
    sums = (folder / "SHA256SUMS").read_text()
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(other.read_bytes())
    (folder / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256(other.read_bytes()).hexdigest()))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_content, "changed since"),
        (lose_a_file, "missing"),
        (add_a_file, "not in its checksums"),
        (lose_the_sums, "no line of it"),
        (leave_the_folder, "no line of it"),
        (forge, "not the content that its manifest tells of"),
    ],
)
def test_a_damaged_bundle_changes_nothing(warehouse, tmp_path, harm, says):
    export(take(warehouse), "one", tmp_path / "out")
    harm(tmp_path / "out")
    other = Warehouse.at(tmp_path / "other")
    with pytest.raises((BadInput, WarehouseError), match=says):
        bring_back(other, tmp_path / "out")
    assert not other.exists()


def test_a_tar_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "evil").write_bytes(b"x")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "evil", "../evil")
    with pytest.raises(BadInput, match="cannot be unpacked"):
        verify(tmp_path / "evil.tar")


def test_damaged_records_are_not_exported(warehouse, tmp_path):
    first, second = sorted(Path(warehouse.path("requests")).iterdir())[:2]
    first.write_bytes(second.read_bytes())
    snapshot = take(warehouse)
    sweep = snapshot.manifest(first.stem).sweep
    with pytest.raises(WarehouseError, match="not the content"):
        export(snapshot, sweep, tmp_path / sweep)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_bad_places_and_names(warehouse, tmp_path):
    with pytest.raises(BadInput, match="there are one, two"):
        export(take(warehouse), "three", tmp_path / "out")
    with pytest.raises(BadInput, match="is there already"):
        export(take(warehouse), "one", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write"):
        export(take(warehouse), "one", tmp_path / "file" / "out")
    assert not is_bundle(tmp_path / "file")
    assert not is_bundle(tmp_path / "nothing")
