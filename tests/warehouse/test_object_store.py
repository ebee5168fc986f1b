"""A warehouse in a real S3-compatible server: build, query, commit once, put together, and servers that are busy."""

from __future__ import annotations

import threading

import pytest
from pyarrow import fs
from synthetic import EPOCH_US, Spec, add_trial, cells, manifest

import joulemark
from joulemark.warehouse.build.build import build
from joulemark.warehouse.errors import WarehouseError
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.query.snapshot import take
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit, encode, read_all
from joulemark.warehouse.upkeep.compact import compact

moto = pytest.importorskip("moto.server")
serving = pytest.importorskip("werkzeug.serving")


class Busy:
    """Passes requests on, and answers so many of the next ones with "slow down"."""

    def __init__(self, app):
        self.app, self.left, self.refused = app, 0, 0

    def __call__(self, environ, start_response):
        if self.left:
            self.left -= 1
            self.refused += 1
            start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Connection", "close")])
            return [b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>"]
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def server():
    app = Busy(moto.DomainDispatcherApplication(moto.create_backend_app))
    running = serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", app
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def place(server, monkeypatch, request):
    """Return the URL of a new bucket; the rest is in the environment."""
    address, app = server
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket{abs(hash(request.node.name)) % 10**8}"
    fs.S3FileSystem(endpoint_override=address, allow_bucket_creation=True).create_dir(bucket)
    app.left = app.refused = 0
    return f"s3://{bucket}/a/warehouse"


def test_a_sweep_in_a_bucket_gives_the_figures_of_one_in_a_folder(place, tmp_path):
    specs = [Spec(), Spec(quantization="q4_0", busy_w=30.0)]
    local, remote = Warehouse.at(tmp_path), Warehouse.at(place)
    for warehouse in (local, remote):
        cells(warehouse, specs)
    assert not remote.local
    assert not Warehouse.at(place.replace("/a/", "/b/")).exists()
    report = build(remote)
    assert (report.energies, report.shares, report.warnings) == (4, 4, ())
    assert build(remote).energies == 0
    with joulemark.open(place) as there, open_warehouse(local) as here:
        for view in ("leaderboard", "trial_results", "request_energy", "failures"):
            query = f"from {view} order by all"
            assert there.sql(query).equals(here.sql(query))
        assert there.sql("select count(*) as n from tokens").equals(here.sql("select count(*) as n from tokens"))


def test_a_new_trial_leaves_what_is_built_as_it_is(place):
    warehouse = Warehouse.at(place)
    cells(warehouse, [Spec()])
    build(warehouse)
    before = set(warehouse.entries("built/request_energy"))
    add_trial(warehouse, Spec(quantization="f16"), 9)
    assert build(warehouse).energies == 1
    assert before < set(warehouse.entries("built/request_energy"))


def test_the_first_commit_counts(place):
    warehouse = Warehouse.at(place)
    first = manifest(Spec(), EPOCH_US)
    assert commit(warehouse, first)
    assert commit(warehouse, first), "the same once more is no other"
    assert not commit(warehouse, manifest(Spec(sweep="of another cluster"), EPOCH_US))
    assert {m.duplicate_of for m in read_all(warehouse)} == {None, first.trial}


def test_who_is_overtaken_while_committing_is_the_duplicate(place, monkeypatch):
    warehouse = Warehouse.at(place)
    mine, other = manifest(Spec(), EPOCH_US), manifest(Spec(sweep="of another cluster"), EPOCH_US)
    write = Warehouse.write

    def overtaken(self, name, content):
        write(self, name, content)
        monkeypatch.setattr(Warehouse, "write", write)
        write(self, name, encode(other))

    monkeypatch.setattr(Warehouse, "write", overtaken)
    assert not commit(warehouse, mine)
    assert {m.sweep: m.duplicate_of for m in read_all(warehouse)} == {other.sweep: None, mine.sweep: mine.trial}


def test_an_object_is_there_only_when_it_is_whole(place):
    warehouse = Warehouse.at(place)

    def break_off():
        with warehouse.writing("trials/half.json") as stream:
            stream.write(b"{")
            assert not warehouse.exists("trials/half.json")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert warehouse.list("trials") == []


def test_small_files_become_packs_and_figures_stay(place):
    warehouse = Warehouse.at(place)
    for i in range(4):
        add_trial(warehouse, Spec(repeat=i), i)
    with open_warehouse(warehouse) as connection:
        before = connection.sql("from trial_results order by trial")
    assert compact(warehouse, settled_s=-60).packs == 2
    assert len(take(warehouse).files["requests"]) == 1
    with open_warehouse(warehouse) as connection:
        assert connection.sql("from trial_results order by trial").equals(before)
        assert connection.sql("from requests").num_rows > 0


def test_a_busy_server_is_asked_again(place, server):
    _, app = server
    warehouse = Warehouse.at(place)
    app.left = 1
    warehouse.write("trials/a.json", b"{}")
    app.left = 1
    assert warehouse.read("trials/a.json") == b"{}"
    assert app.refused == 2


def test_a_bucket_that_is_not_there_is_one_line(place):
    with pytest.raises(WarehouseError) as caught:
        Warehouse.at(place.replace("bucket", "no-bucket")).write("trials/a.json", b"{}")
    assert "no-bucket" in str(caught.value)
    assert "\n" not in str(caught.value)
