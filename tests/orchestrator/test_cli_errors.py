"""What the command line says and returns where something is wrong; no engine, no Ray."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from joulemark.orchestrator.progress import Progress
from joulemark.warehouse.schema.trial import Interval, NodePart, TrialManifest
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit

JOULEMARK = str(Path(sys.executable).with_name("joulemark"))
SWEEP = """
schema: 1
name: small
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: [1, 4]}
workload: {input_tokens: 32, output_tokens: 16}
measure: {repeats: 1, warmup: 0.5s, window: 2s}
"""
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


@pytest.fixture
def here(tmp_path):
    """A folder with a sweep file, and a warehouse with one trial that failed."""
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    warehouse = Warehouse.at(tmp_path / "records")
    part = NodePart("n", "boot", ("cpu",), "cpu", Interval(1, 2))
    factors = {"model": "m"}
    manifest = TrialManifest(
        "c-d-s0r0a0", "c", "d", "small", 0, 0, 0, factors, 1, 1, "failed", (), (part,), 1, 2, error="it died"
    )
    commit(warehouse, manifest)
    return tmp_path


def joulemark(here, *arguments, **more):
    """Run a command; the warehouse is ``records``. Without a terminal, and never with a traceback."""
    environment = {**os.environ, "JOULEMARK_HOME": str(here / "home"), "JOULEMARK_WAREHOUSE": str(here / "records")}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    done = subprocess.run(
        [JOULEMARK, *map(str, arguments)], cwd=here, env=environment, text=True, check=False, timeout=120, **streams
    )
    assert "Traceback" not in (done.stderr or "")
    return done


def refused(here, *arguments, code=2):
    """Run a command that must fail; return its one line."""
    done = joulemark(here, *arguments)
    assert done.returncode == code, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("joulemark: ")
    return line


def test_a_sweep_file_that_is_none(here):
    (here / "folder").mkdir()
    (here / "empty.yaml").write_text("")
    (here / "binary.yaml").write_bytes(bytes(range(256)))
    assert refused(here, "plan", "missing.yaml") == "joulemark: there is no sweep file missing.yaml"
    assert "Is a directory" in refused(here, "plan", "folder")
    assert "Errno" not in refused(here, "plan", "folder")
    assert "the file is empty" in refused(here, "run", "empty.yaml")
    assert "not text in UTF-8" in refused(here, "plan", "binary.yaml")
    assert "there is no site file" in refused(here, "plan", "sweep.yaml", "--site", "missing.yaml")
    assert "there is no sweep file" in refused(here, "check", "--sweep", "missing.yaml")
    assert "there is no query file" in refused(here, "sql", "--file", "missing.sql")
    assert not (here / "home").exists(), "something was made before the file was checked"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("measure:", "meassure:", "sweep.yaml:6:1: unknown key 'meassure' in the sweep file: did you mean measure?"),
        ("tiny-dense", "tiny-dens", "did you mean tiny-dense"),
        ("schema: 1", "schema: 2", "upgrade joulemark"),
        ("name: small", "name: ../../etc", "becomes part of file names"),
        ("measure:", "exclude: [{model: tiny-dense}]\nmeasure:", "no cell is left"),
    ],
)
def test_a_mistake_in_the_sweep_file_is_said_with_its_place_before_anything_starts(here, before, after, says):
    (here / "sweep.yaml").write_text(SWEEP.replace(before, after))
    assert says in refused(here, "run", "sweep.yaml")
    assert not (here / "home").exists()


def test_a_mistake_in_the_site_file(here):
    (here / "site.yaml").write_text("schema: 1\ncurency: EUR\n")
    assert "did you mean currency" in refused(here, "run", "sweep.yaml", "--site", "site.yaml")


@pytest.mark.parametrize("command", [["leaderboard"], ["run", "sweep.yaml"], ["plan", "sweep.yaml"], ["status"]])
def test_a_file_in_place_of_the_warehouse(here, command):
    assert "is a file" in refused(here, *command, "--warehouse", "sweep.yaml")


def test_a_warehouse_that_is_not_there(here):
    for command in ("leaderboard", "check"):
        assert "there is no warehouse" in refused(here, command, "--warehouse", "nowhere")
    assert "no sweep has run" in refused(here, "status", "--warehouse", "nowhere")
    assert not (here / "nowhere").exists()


def test_an_empty_warehouse(here):
    (here / "empty").mkdir()
    assert joulemark(here, "leaderboard", "-w", "empty").stdout == "no cell has a valid trial yet\n"
    assert "holds no trial" in refused(here, "check", "-w", "empty", code=3)
    assert "no cell" in refused(here, "compare", "a", "b", "-w", "empty")
    assert list((here / "empty").iterdir()) == []


def test_names_that_are_not_there(here):
    assert "no trial of a sweep 'other'" in refused(here, "leaderboard", "--sweep", "other")
    assert "there are small" in refused(here, "leaderboard", "--sweep", "other")
    assert "no sweep 'other' has run" in refused(here, "status", "other")
    assert "matches no cell" in refused(here, "compare", "model=other", "model=m")
    done = joulemark(here, "compare", "a", "b", "--boundary", "nowhere")
    assert done.returncode == 2
    assert "'facility'" in done.stderr


def test_records_that_cannot_be_read_are_named_and_the_rest_is_shown(here):
    trials = here / "records" / "trials"
    whole = (trials / "c-d-s0r0a0.json").read_bytes()
    (trials / "cut-d-s0r0a0.json").write_bytes(whole[:100])
    newer = {**msgspec.json.decode(whole), "schema_version": 99}
    (trials / "new-d-s0r0a0.json").write_bytes(msgspec.json.encode(newer))
    (here / "records" / "power" / "n").mkdir(parents=True)
    (here / "records" / "power" / "n" / "cut.parquet").write_bytes(b"PAR1")
    for command, code in ((["sql", "from trials"], 0), (["leaderboard"], 0), (["check"], 3)):
        done = joulemark(here, *command)
        assert done.returncode == code, done.stderr
        assert "skipped trials/cut-d-s0r0a0.json: not a trial manifest" in done.stderr
        assert "skipped trials/new-d-s0r0a0.json: written by a newer joulemark" in done.stderr
        assert "skipped power/n/cut.parquet: not a whole Parquet file" in done.stderr
    assert "c-d-s0r0a0" in joulemark(here, "sql", "from trials", "--csv").stdout


def test_a_query_that_is_refused(here):
    assert "syntax error" in refused(here, "sql", "selec 1")
    assert "only SELECT" in refused(here, "sql", "drop table trials")
    assert "only SELECT" in refused(here, "sql", "copy trials to 'x.csv'")
    assert "disabled by configuration" in refused(here, "sql", "from read_csv('/etc/passwd')")
    assert "one query at a time" in refused(here, "sql", "select 1; select 2")
    assert "the query is empty" in refused(here, "sql", " ")
    assert "give one query" in refused(here, "sql")
    assert "cannot write missing/x.csv" in refused(here, "sql", "from trials", "--csv", "--out", "missing/x.csv")
    assert sorted(p.name for p in here.iterdir()) == ["records", "sweep.yaml"]


@pytest.mark.parametrize("kind", ["table", "csv", "json", "parquet"])
def test_a_reader_that_has_seen_enough_is_no_error(here, kind):
    query = "select range as n, 'a long enough line to fill the pipe' as text from range(20000)"
    command = [JOULEMARK, "sql", query, *([f"--{kind}"] if kind != "table" else [])]
    environment = {**os.environ, "JOULEMARK_WAREHOUSE": str(here / "records")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@FULL
@pytest.mark.parametrize("command", [["sql", "from trials", "--csv"], ["sql", "from trials"], ["leaderboard"]])
def test_output_that_cannot_be_written(here, command):
    with open("/dev/full", "w") as full:
        done = joulemark(here, *command, stdout=full)
    assert done.returncode == 2
    assert done.stderr == "joulemark: cannot write the output: No space left on device\n"


def test_output_that_nobody_wants(here):
    done = joulemark(here, "leaderboard", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_state_of_a_sweep_whose_driver_is_gone(here):
    from joulemark.orchestrator.progress import save

    snapshot = Progress("small", 2, 0).snapshot()
    save(Warehouse.at(here / "records"), msgspec.structs.replace(snapshot, updated_s=1.0))
    assert "has been silent for" in joulemark(here, "status").stdout
    (here / "records" / "sweeps" / "small" / "progress.json").write_bytes(b"{")
    assert "not a progress record" in refused(here, "status")
