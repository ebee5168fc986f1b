"""What is written: the same bytes from the same warehouse, hashes, the gate, redaction, tables, history."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil

import pyarrow.parquet as pq
import pytest
from publishing import HOSTILE, SCRIPT, published
from pyarrow import ipc
from synthetic import Spec, add_trial, cells

from joulemark.warehouse.errors import BadInput, ThresholdMissed
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.site.options import Options
from joulemark.warehouse.site.publish import export
from joulemark.warehouse.store.location import Warehouse


@pytest.fixture(scope="module")
def folder(warehouse, no_assets, tmp_path_factory):
    return published(warehouse, tmp_path_factory.mktemp("publish") / "site", no_assets)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A warehouse of two cells, where it does not matter what is in it."""
    made = Warehouse.at(tmp_path_factory.mktemp("small") / "warehouse")
    cells(made, [Spec(), Spec(quantization="q4_0", nodes=("node-a", "node-b"))], spread=0.01, repeats=2)
    return made


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def data(folder, name):
    text = (folder / "data" / f"{name}.js").read_text()
    assert text.startswith("joulemark.receive(")
    return json.loads(text[text.index(",") + 1 : -3])


def test_the_same_warehouse_gives_the_same_bytes(warehouse, folder, no_assets, tmp_path):
    again = published(warehouse, tmp_path / "again", no_assets)
    assert files(again) == files(folder)


def test_published_again_onto_itself_it_has_the_same_bytes(small, no_assets, tmp_path):
    folder = published(small, tmp_path / "site", no_assets)
    before = files(folder)
    # That is no event of the history either.
    assert files(published(small, folder, no_assets)) == before


def test_a_rebuilt_warehouse_gives_the_same_bytes(small, no_assets, tmp_path):
    first = files(published(small, tmp_path / "first", no_assets))
    copy = tmp_path / "warehouse"
    shutil.copytree(small.root, copy)
    shutil.rmtree(copy / "built")
    assert files(published(Warehouse.at(copy), tmp_path / "again", no_assets)) == first


def test_the_list_of_hashes_is_whole_and_true(folder):
    listed = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    found = {n: hashlib.sha256(c).hexdigest() for n, c in files(folder).items() if n != "SHA256SUMS"}
    assert listed == found


def test_invalid_trials_are_listed_and_never_ranked(folder, connection):
    bad = {f["trial"] for f in connection.sql("from failures").to_pylist()}
    listed = data(folder, "failures")
    assert {f["trial"] for f in listed} == bad
    assert all(f["reasons"] or f["failure_class"] for f in listed)
    rows = data(folder, "core")["rows"]
    cells_of_bad = {b.split("-")[0] for b in bad}
    assert not cells_of_bad & set(rows["cell"]["words"])


def test_simulated_trials_are_nowhere_unless_asked_for(warehouse, folder, no_assets, tmp_path):
    assert not [n for n, content in files(folder).items() if b"made-by-simulator" in content]
    assert "simulated" not in data(folder, "core")["rows"]["fidelity"]["words"]
    asked = published(warehouse, tmp_path / "asked", no_assets, simulated=True, sql=False, traces=False)
    core = data(asked, "core")
    assert core["about"]["simulated"] is True
    assert "made-by-simulator" in core["rows"]["model"]["words"]
    assert "simulated" in core["rows"]["fidelity"]["words"]


def test_an_engine_that_was_put_together_for_tests_is_never_published(no_assets, tmp_path):
    warehouse = Warehouse.at(tmp_path / "records")
    add_trial(warehouse, Spec(), 0)
    add_trial(warehouse, Spec(model="on-a-test-engine", requirement_set="sglang-cpu-0.5.23"), 1)
    folder = published(warehouse, tmp_path / "site", no_assets, simulated=True)
    assert "on-a-test-engine" not in data(folder, "core")["rows"]["model"]["words"]
    assert not [name for name, content in files(folder).items() if b"on-a-test-engine" in content]


def test_nothing_says_where_it_was_measured(warehouse, folder, no_assets, tmp_path):
    told = (b"rack7", b"node-a", b"node-b", b"alice", b"10.1.2.3", b"/home/")
    # Names of our own documentation aside, no file holds any of it: Parquet and Arrow are searched as rows.
    for name, content in files(folder).items():
        if name.endswith(".parquet"):
            content = str(pq.read_table(io.BytesIO(content)).to_pylist()).encode()  # noqa: PLW2901 -- the same, readable
        assert not [t for t in told if t in content], name
    open_ = published(warehouse, tmp_path / "open", no_assets, redact=False, sql=False, traces=False)
    whole = b"".join(c for n, c in files(open_).items() if n.endswith(".js"))
    assert all(t in whole for t in told)


def test_tables_are_the_views(folder, connection):
    wanted = [r for r in connection.sql("from leaderboard").to_pylist() if r["fidelity"] != "simulated"]
    assert pq.read_table(folder / "tables" / "leaderboard.parquet").to_pylist() == wanted
    assert ipc.open_stream(folder / "tables" / "leaderboard.arrow").read_all().to_pylist() == wanted
    assert json.loads((folder / "tables" / "leaderboard.json").read_text()) == wanted
    lines = list(csv.DictReader((folder / "tables" / "leaderboard.csv").open()))
    assert [float(line["j_per_token"]) for line in lines] == [r["j_per_token"] for r in wanted]
    assert [line["model"] for line in lines] == [r["model"] for r in wanted]
    assert (folder / "tables" / "leaderboard.md").read_text().count("\n") == len(wanted) + 2


def test_a_trace_in_the_site_is_the_trial_s(folder, connection):
    trial = connection.sql("from trials where outcome = 'done' and not simulated order by trial limit 1").to_pylist()[0]
    document = data(folder, f"trials/{trial['trial']}")
    power = next(f for f in document["files"] if f["dataset"] == "power")
    rows = pq.read_table(folder / power["file"]).to_pylist()
    assert power["rows"] == len(rows)
    in_window = [r for r in rows if trial["window_start_at"] <= r["t"] <= trial["window_end_at"]]
    query = "from power where t between ? and ? and node = ? order by t"
    wanted = connection.duckdb.sql(
        query, params=[trial["window_start_at"], trial["window_end_at"], trial["nodes"][0]]
    ).to_arrow_table()
    assert sorted(r["energy_uj"] for r in in_window) == sorted(wanted["energy_uj"].to_pylist())
    drawn = document["series"]["power"][0]
    assert max(drawn["w"]) == pytest.approx(max(r["power_mw"] for r in rows) / 1e3)
    tokens = document["series"]["tokens"]
    counted = connection.duckdb.sql("select sum(tokens) from tokens where trial = ?", params=[trial["trial"]])
    assert sum(tokens["rate"]) * tokens["step_s"] == pytest.approx(counted.fetchall()[0][0], rel=1e-3)


def test_scripts_and_pages_hold_no_markup_from_outside(folder):
    for name, content in files(folder).items():
        if name.endswith((".js", ".html")) and not name.startswith("assets/"):
            assert HOSTILE.encode() not in content, name
            assert SCRIPT.encode() not in content, name


def test_pages_have_a_strict_policy(folder):
    for name, content in files(folder).items():
        if not name.endswith(".html"):
            continue
        text = content.decode()
        policy = text.split('Content-Security-Policy" content="')[1].split('"')[0]
        assert "default-src &#x27;none&#x27;" in policy
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
        assert ("wasm-unsafe-eval" in policy) is (name == "sql.html")
        assert "<script>" not in text
        assert " style=" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_a_folder_of_something_else_is_left_alone(warehouse, no_assets, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInput, match="did not publish"):
        published(warehouse, tmp_path, no_assets)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_publication_no_longer_has_goes(small, no_assets, tmp_path):
    folder = published(small, tmp_path / "site", no_assets)
    (folder / "CNAME").write_text("example.org")
    published(small, folder, no_assets, sql=False, traces=False)
    assert not (folder / "sql.html").exists()
    assert not list(folder.glob("traces/*"))
    assert (folder / "CNAME").exists(), "what we did not write stays"


def test_a_forged_list_of_hashes_deletes_nothing_elsewhere(small, no_assets, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = published(small, tmp_path / "site", no_assets, sql=False, traces=False)
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  ../outside\n{'0' * 64}  {outside}\n")
    published(small, folder, no_assets, sql=False, traces=False)
    assert outside.read_text() == "mine"


def test_without_a_valid_trial_nothing_is_published(no_assets, tmp_path):
    warehouse = Warehouse.at(tmp_path / "warehouse")
    add_trial(warehouse, Spec(outcome="failed", failure_class="engine_died", error="x"), 0)
    add_trial(warehouse, Spec(model="made-by-simulator", simulated=True), 1)
    with pytest.raises(ThresholdMissed, match="--simulated"):
        published(warehouse, tmp_path / "site", no_assets)
    assert not (tmp_path / "site").exists()


def test_history_says_what_changed_and_why(no_assets, tmp_path):
    plain = {"sql": False, "traces": False}
    warehouse = Warehouse.at(tmp_path / "warehouse")
    specs = [Spec(busy_w=50.0), Spec(quantization="q4_0", busy_w=49.9)]
    cells(warehouse, specs, spread=0.001, repeats=3)
    folder = published(warehouse, tmp_path / "site", no_assets, **plain)
    assert "first publication" in (folder / "history.html").read_text()
    cells_before = data(folder, "core")["rows"]
    for repeat in (3, 4):
        add_trial(warehouse, Spec(busy_w=20.0, repeat=repeat), 20 + repeat)
    cells(warehouse, [Spec(model=HOSTILE, busy_w=10.0)], repeats=2)
    published(warehouse, folder, no_assets, **plain)
    record = json.loads((folder / "publication.json").read_text())
    assert len(record["history"]) == 2
    changes = {c["label"].split(",")[0]: c for c in record["history"][1]["changes"]}
    assert len(cells_before["cell"]["codes"]) == 2
    assert "5 valid trials instead of 3" in changes["tiny-dense q8_0 llamacpp cpu"]["why"]
    assert "other rows came or went" in changes["tiny-dense q4_0 llamacpp cpu"]["why"]
    assert any(c["what"] == "new" for c in record["history"][1]["changes"])
    # A trial that failed is an event in which no row changed.
    add_trial(warehouse, Spec(outcome="failed", failure_class="engine_died", error="x", attempt=1), 40)
    published(warehouse, folder, no_assets, **plain)
    text = (folder / "history.html").read_text()
    assert "No row changed" in text
    assert text.count("first publication") == 1
    # The same from another folder.
    elsewhere = published(warehouse, tmp_path / "elsewhere", no_assets, previous=folder, **plain)
    assert files(elsewhere) == files(folder)


def test_a_previous_publication_must_be_one(warehouse, no_assets, tmp_path):
    with pytest.raises(BadInput, match="no publication"):
        published(warehouse, tmp_path / "site", no_assets, previous=tmp_path)
    (tmp_path / "publication.json").write_text('{"schema": 1}')
    with pytest.raises(BadInput, match="no record"):
        published(warehouse, tmp_path / "site", no_assets, previous=tmp_path)


@pytest.mark.parametrize("kinds", [("csv",), ("json", "markdown", "parquet")])
def test_tables_alone(warehouse, tmp_path, kinds):
    with open_warehouse(warehouse, read_only_user=False, threads=1) as connection:
        done = export(connection, tmp_path / "tables", kinds, Options())
    suffixes = {"markdown": "md"}
    wanted = {f"{t}.{suffixes.get(k, k)}" for t in ("leaderboard", "failures") for k in kinds}
    assert set(files(tmp_path / "tables")) == wanted | {"SHA256SUMS"}
    assert done.left_out == 2
