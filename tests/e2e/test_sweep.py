"""The main job on a real engine: a sweep file in, a leaderboard out, and every number traced back."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

pytestmark = pytest.mark.engine

SWEEP = """
schema: 1
name: e2e
matrix:
  model: [tiny-dense, tiny-moe]
  quantization: q4_0
  engine: llamacpp
  concurrency: [1, 4]
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, warmup: 0.5s, window: 2s}
"""
WANTED = 8
SMALL = SWEEP.replace("[tiny-dense, tiny-moe]", "tiny-dense")


def engines(home):
    """Processes of engines that run from this home, by the mark in their environment and their executable."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            marked = b"JOULEMARK_START=" in Path(f"/proc/{process.pid}/environ").read_bytes()
        except (psutil.Error, OSError):
            continue
        if marked and any(str(home) in part for part in line):
            found.append(process)
    return found


def wait_for(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def done(cli_in, tmp_path_factory):
    """A sweep that ran undisturbed."""
    cli = cli_in(tmp_path_factory.mktemp("done"))
    cli.output = cli.complete(cli.sweep(SWEEP))
    return cli


def test_the_run_ends_with_a_leaderboard(done):
    out = done.output.stdout
    assert "boundary cpu, fidelity modelled" in out
    assert "quick" in out
    assert out.count("tiny-moe") == out.count("tiny-dense") == 2
    rows = json.loads(done("leaderboard", "--json").stdout)
    assert len(rows) == 4
    for row in rows:
        assert row["trials"] == 2
        assert row["j_per_token_low"] < row["j_per_token"] < row["j_per_token_high"]
        assert (row["grade"], row["boundary"], row["fidelity"]) == ("quick", "cpu", "modelled")
    assert str(done.warehouse) in done.output.stderr


def test_nothing_is_left_running(done):
    assert engines(done.home) == []


def test_the_same_command_again_measures_nothing(done):
    before = sorted(p.name for p in (done.warehouse / "trials").iterdir())
    again = done("run", done.folder / "sweep.yaml")
    assert "are there already" in again.stderr
    assert sorted(p.name for p in (done.warehouse / "trials").iterdir()) == before
    assert f"of which {WANTED} are done" in done("plan", done.folder / "sweep.yaml").stdout


def test_editing_the_file_keeps_the_trials_of_cells_that_are_still_in_it(done):
    wider = done.folder / "wider.yaml"
    wider.write_text(SWEEP.replace("[1, 4]", "[1, 4, 8]").replace("repeats: 2", "repeats: 3"))
    plan = json.loads(done("plan", wider, "--json").stdout)
    assert (plan["wanted"], plan["done"]) == (18, WANTED)
    assert plan["estimate"]["energy_kwh"] > 0


def test_tokens_of_every_request_equal_the_engines_own_count(done):
    counted = 0
    for manifest in raw.manifests(done.warehouse):
        for row in raw.requests(done.warehouse, manifest):
            if row["status"] == "ok":
                assert raw.timed_tokens(row) + row["untimed_tokens"] == row["output_tokens"] == 16
                assert row["input_tokens"] == row["asked_input_tokens"] == 32
                assert row["cached_tokens"] in (0, None)
                counted += 1
    assert counted > 100


def test_window_energy_from_raw_parquet_alone_equals_the_view(done):
    views = {r["trial"]: r for r in done.sql("select trial, energy_j, output_tokens from trial_results")}
    for manifest in raw.manifests(done.warehouse):
        energy_j = raw.window_energy_j(done.warehouse, manifest)
        assert views[manifest["trial"]]["energy_j"] == pytest.approx(energy_j, rel=1e-6)
    assert len(views) >= WANTED


def test_shares_and_the_rest_sum_to_the_window(done):
    views = {r["trial"]: r["energy_j"] for r in done.sql("select trial, energy_j from trial_results")}
    shares = {
        r["trial"]: r["j"] for r in done.sql("select trial, sum(energy_j) as j from request_energy group by trial")
    }
    assert shares == pytest.approx(views, rel=1e-6)


def test_the_record_proves_what_ran(done):
    for manifest in raw.manifests(done.warehouse):
        assert manifest["engine"]["reported"]["model_ftype"].lower() == "q4_0"
        assert manifest["versions"]["joulemark"]
        assert manifest["nodes"][0]["loaded_idle"]["end_us"] > manifest["nodes"][0]["loaded_idle"]["start_us"]
        assert (done.warehouse / manifest["engine"]["log"]).stat().st_size > 0
        for trace in manifest["traces"]:
            assert (done.warehouse / trace["path"]).is_file()


def test_questions_and_gates(done):
    assert done("check", "--sweep", done.folder / "sweep.yaml").stdout.startswith("every cell")
    assert "findings" in done("check", "--max-j-per-token", "1e-9", code=3).stderr
    text = done("compare", "model=tiny-dense,concurrency=1", "model=tiny-dense,concurrency=4").stdout
    assert "times the energy" in text
    assert "ended" in done("status").stdout
    csv = done("sql", "from leaderboard select model, rank", "--csv").stdout
    assert csv.count("\n") == 5


def test_kill_9_of_the_driver_then_the_same_command(joulemark):
    sweep = joulemark.sweep(SMALL)
    trials = joulemark.warehouse / "trials"
    driver = joulemark.start("run", sweep)
    wait_for(lambda: trials.exists() and len(list(trials.glob("*.json"))) >= 2 and engines(joulemark.home))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {p.name: p.read_bytes() for p in trials.glob("*.json")}
    joulemark.complete(sweep)
    after = {p.name: p.read_bytes() for p in trials.glob("*.json")}
    assert before.items() <= after.items()
    assert engines(joulemark.home) == []
    valid = joulemark.sql("select cell, start, repeat, count(*) as n from trial_results where valid group by all")
    assert len(valid) == WANTED // 2
    assert {v["n"] for v in valid} == {1}, "a finished trial was repeated"


def test_kill_9_of_the_engine_in_mid_trial(joulemark):
    sweep = joulemark.sweep(SMALL)
    driver = joulemark.start("run", sweep)
    wait_for(lambda: "tokens/s" in driver.log.read_text())
    (engine,) = wait_for(lambda: engines(joulemark.home))
    engine.kill()
    assert driver.wait(600) in (0, 1), driver.log.read_text()
    failed = joulemark.sql("select outcome, failure_class, error, attempt from trials where outcome = 'failed'")
    assert [f["failure_class"] for f in failed] == ["engine_died"]
    assert "signal 9" in failed[0]["error"]
    joulemark.complete(sweep)
    assert len(joulemark.sql("select distinct cell, repeat from trial_results where valid")) == WANTED // 2
    assert engines(joulemark.home) == []


def test_ctrl_c_once_finishes_the_running_trial(joulemark):
    sweep = joulemark.sweep(SWEEP)
    driver = joulemark.start("run", sweep)
    wait_for(lambda: "tokens/s" in driver.log.read_text())
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(120) == 130, driver.log.read_text()
    manifests = raw.manifests(joulemark.warehouse)
    assert [m["outcome"] for m in manifests][-1] == "done"
    assert len(manifests) < WANTED
    assert engines(joulemark.home) == []


def test_ctrl_c_twice_stops_now_and_leaves_nothing_running(joulemark):
    sweep = joulemark.sweep(SWEEP.replace("warmup: 0.5s", "warmup: 300s"))
    driver = joulemark.start("run", sweep)
    wait_for(lambda: "tokens/s" in driver.log.read_text())
    os.killpg(driver.pid, signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again" in driver.log.read_text())
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(120) == 130, driver.log.read_text()
    (manifest,) = raw.manifests(joulemark.warehouse)
    assert (manifest["outcome"], manifest["failure_class"]) == ("failed", "interrupted")
    assert engines(joulemark.home) == []
