"""What goes wrong on real machines, on a real engine: disks fill, sweeps meet, records age, terminals close."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

pytestmark = pytest.mark.engine

SWEEP = """
schema: 1
name: errors
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 1}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, warmup: 0.5s, window: 2s}
"""
LONG = SWEEP.replace("warmup: 0.5s", "warmup: 60s")
POWERCAP = """
mount -t tmpfs tmpfs /sys/class || exit 77
mkdir -p /sys/class/powercap/intel-rapl:0
cd /sys/class/powercap/intel-rapl:0
echo package-0 > name; echo 0 > energy_uj; echo 262143328850 > max_energy_range_uj
cd "$1"; shift
"$@"
"""
"""A powercap tree of one package, in a mount namespace of its own, for the command that follows."""
COUNTER = """
import os, sys, time
begun = time.monotonic()
with open("/proc/%s/root/sys/class/powercap/intel-rapl:0/energy_uj" % sys.argv[1], "r+") as counter:
    while True:
        counter.seek(0)
        counter.write(f"{round((time.monotonic() - begun) * 20e6)}\\n")
        counter.flush()
        time.sleep(0.002)
"""
"""Counts 20 W into the package of the process whose id is given."""


def engines(cli):
    """Pids of what carries the mark of an engine start and works for this warehouse."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
        except OSError:
            continue
        ours = f"JOULEMARK_WAREHOUSE={cli.warehouse}".encode() in variables
        if ours and any(v.startswith(b"JOULEMARK_START=") for v in variables):
            found.append(int(environment.parent.name))
    return found


def wait_for(condition, process, seconds=240):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert process.poll() is None, f"it ended first:\n{process.log.read_text()}"
        assert time.monotonic() < deadline, f"it did not happen:\n{process.log.read_text()}"
        time.sleep(0.1)
    return value


def content(folder, pattern):
    return {p: p.read_bytes() for p in folder.glob(pattern)}


@pytest.fixture
def small_disk(joulemark):
    """Mount a tmpfs of so many KiB as the warehouse; the returned function changes its size."""

    def size(kib):
        option = "remount," if os.path.ismount(joulemark.warehouse) else ""
        joulemark.warehouse.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"{option}size={kib}k", "tmpfs", str(joulemark.warehouse)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")

    yield size
    if os.path.ismount(joulemark.warehouse):
        subprocess.run(["umount", "--lazy", str(joulemark.warehouse)], check=True)


def test_a_full_disk_is_said_and_the_same_command_goes_on_once_there_is_space(joulemark, small_disk):
    sweep = joulemark.sweep(SWEEP.replace("repeats: 2", "repeats: 3"))
    small_disk(88)
    full = joulemark("run", sweep, code=1)
    said = [line for line in full.stderr.splitlines() if line.startswith("joulemark: no space left")]
    assert len(said) == 1
    assert "free some and run the same command again" in said[0]
    assert "no_power" not in full.stderr, "a full disk is no missing sensor"
    kept = content(joulemark.warehouse, "trials/*.json")
    assert kept
    assert len(kept) < 3
    for name, text in kept.items():
        assert json.loads(text)["trial"] == name.stem
    assert engines(joulemark) == []
    small_disk(20_000)
    joulemark.complete(sweep)
    assert kept.items() <= content(joulemark.warehouse, "trials/*.json").items()
    assert len(joulemark.sql("select distinct repeat from trial_results where valid")) == 3


def test_two_runs_of_one_sweep_at_the_same_time(joulemark):
    sweep = joulemark.sweep(SWEEP)
    first = joulemark.start("run", sweep)
    wait_for(lambda: "engine" in first.log.read_text(), first)
    second = joulemark.start("run", sweep)
    assert first.wait(300) in (0, 1)
    before = content(joulemark.warehouse, "requests/*.parquet")
    assert before
    assert second.wait(300) in (0, 1)
    assert before.items() <= content(joulemark.warehouse, "requests/*.parquet").items(), "records were replaced"
    valid = joulemark.sql("select repeat, count(*) as n from trial_results where valid group by all")
    assert {v["n"] for v in valid} <= {1}, "a trial was measured twice"
    assert not list(joulemark.warehouse.glob("trials/*-dup*"))
    spans = joulemark.sql("select epoch(started_at) as a, epoch(ended_at) as b from trials order by started_at")
    assert all(one["b"] <= two["a"] for one, two in itertools.pairwise(spans)), "two were measured at once"


def test_records_of_a_newer_version_are_left_alone_and_the_sweep_still_ends(joulemark):
    sweep = joulemark.sweep(SWEEP.replace("repeats: 2", "repeats: 1"))
    joulemark.complete(sweep)
    trial = joulemark.sql("select trial from trial_results where valid order by trial limit 1")[0]["trial"]
    path = joulemark.warehouse / "trials" / f"{trial}.json"
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 99'))
    before = content(joulemark.warehouse, f"*/{trial}.*")
    assert {p.parent.name for p in before} >= {"trials", "requests", "engine_state"}
    again = joulemark.complete(sweep)
    assert f"skipped trials/{trial}.json: written by a newer joulemark" in again.stderr
    assert content(joulemark.warehouse, f"*/{trial}.*") == before
    assert len(joulemark.sql("select distinct repeat from trial_results where valid")) == 1


def test_a_damaged_model_fails_with_the_engines_own_words_and_the_others_run(joulemark):
    shutil.copy(next(joulemark.home.glob("models/tiny-dense-*/gguf-q4_0.gguf")), joulemark.folder / "it's whole é.gguf")
    whole = (joulemark.folder / "it's whole é.gguf").read_bytes()
    (joulemark.folder / "cut.gguf").write_bytes(whole[: len(whole) // 3])
    text = SWEEP.replace("tiny-dense", '["./cut.gguf", "./it\'s whole é.gguf"]').replace("repeats: 2", "repeats: 1")
    done = joulemark("run", joulemark.sweep(text), code=1)
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: cut q4_0 on llamacpp (1 trials)")]
    assert len(failed) == 1
    assert "the GGUF file is missing or damaged" in failed[0]
    record = joulemark.sql("select failure_class, error from trials where model = 'cut'")
    assert [r["failure_class"] for r in record] == ["bad_checkpoint"]
    log = record[0]["error"].rpartition("(log: ")[2].rstrip(")")
    assert "not within the file bounds" in (joulemark.warehouse / log).read_text()
    assert "it's whole é" in {r["model"] for r in joulemark.sql("select model from trials where outcome = 'done'")}


def test_the_terminal_is_closed_in_mid_trial(joulemark):
    # Tests that are run under nohup would have it ignored, as nohup's user wants it.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    driver = joulemark.start("run", joulemark.sweep(LONG))
    signal.signal(signal.SIGHUP, before)
    wait_for(lambda: "tokens/s" in driver.log.read_text(), driver)
    os.kill(driver.pid, signal.SIGHUP)
    assert driver.wait(120) == 130, driver.log.read_text()
    assert "Traceback" not in driver.log.read_text()
    (manifest,) = raw.manifests(joulemark.warehouse)
    assert (manifest["outcome"], manifest["failure_class"]) == ("failed", "interrupted")
    assert engines(joulemark) == []


def test_the_driver_is_told_to_end_while_an_engine_starts(joulemark):
    hanging = joulemark.folder / "hanging"
    hanging.write_text("#!/bin/sh\necho loading\nsleep 600 & sleep 600\n")
    hanging.chmod(0o755)
    sweep = joulemark.sweep(SWEEP + f"engines: {{llamacpp: {{environment: {hanging}}}}}\n")
    driver = joulemark.start("run", sweep)
    wait_for(lambda: "llamacpp is starting" in driver.log.read_text(), driver)
    os.kill(driver.pid, signal.SIGTERM)
    # It would be ready, or given up, only after minutes.
    assert driver.wait(60) == 130, driver.log.read_text()
    assert not (joulemark.warehouse / "trials").exists()
    assert engines(joulemark) == []


def test_counters_that_can_be_read_are_what_is_measured(joulemark):
    sweep = joulemark.sweep(SWEEP)
    script = joulemark.folder / "in_namespace.sh"
    script.write_text(POWERCAP)
    inside = ["unshare", "--mount", "bash", str(script), str(joulemark.folder)]
    tried = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a mount namespace is not permitted here: {tried.stderr.strip()}")
    with (joulemark.folder / "run.log").open("wb") as log:
        process = subprocess.Popen(
            [*inside, *joulemark._argv(("run", str(sweep)))], env=joulemark.environment, stdout=log, stderr=log
        )
        process.log = joulemark.folder / "run.log"
        package = Path(f"/proc/{process.pid}/root/sys/class/powercap/intel-rapl:0")
        wait_for((package / "max_energy_range_uj").exists, process)
        counter = subprocess.Popen([sys.executable, "-c", COUNTER, str(process.pid)])
        try:
            assert process.wait(300) in (0, 1), process.log.read_text()
        finally:
            counter.kill()
            counter.wait()
    results = joulemark.sql("select boundary, fidelity, mean_w from trial_results where mean_w is not null")
    assert results
    assert {(r["boundary"], r["fidelity"]) for r in results} == {("cpu", "counter")}
    for result in results:
        assert result["mean_w"] == pytest.approx(20.0, rel=0.05)
    assert "boundary cpu, fidelity counter" in joulemark("leaderboard").stdout or not joulemark.sql(
        "from trial_results where valid"
    )
    assert "W" in process.log.read_text().rpartition("tokens/s, ")[2][:12], "no watts were shown"
