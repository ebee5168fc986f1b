"""What clusters do to a sweep: whatever is lost, every cell reaches its number of valid trials, each counted once.

One always, beside those of test_chaos.py at random; all of them by:

    JOULEMARK_TEST_MULTIHOST=all pytest tests/multihost
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hosts import program, wait_for
from ray_hosts import nothing_left, of_ours
from test_sweeps import check_records, complete, valid

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

ALL = os.environ.get("JOULEMARK_TEST_MULTIHOST") == "all"
long_one = pytest.mark.skipif(not ALL, reason="takes long: JOULEMARK_TEST_MULTIHOST=all runs it")
SWEEP = """
schema: 1
name: NAME
matrix: {model: tiny-dense, quantization: q4_0, engine: llamacpp, concurrency: 1}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, starts: 4, warmup: 0.5s, window: 4s}
"""
WANTED = 8


@pytest.fixture
def begun(cluster):
    """Start a sweep and return (driver, the host that measures now, a function that ends and checks it)."""

    def begin(name, **options):
        sweep = cluster.sweep(SWEEP.replace("NAME", name), name)
        options = {"records": cluster.records_of(name), **options}
        driver = cluster.joulemark("run", sweep, "--cluster", cluster.address, **options)
        victim = wait_for(
            lambda: measuring(cluster, driver), 120, "a measurement beside the driver's and the head's host"
        )

        def end(records=None):
            code = driver.wait(400)
            said = driver.text()
            assert code in (0, 1, 2), said
            assert "Traceback" not in said, said
            if code:
                complete(cluster, name, **options)
            whole(cluster, name)
            return said

        return driver, victim, end

    return begin


def measuring(cluster, driver):
    """Return a host that neither drives nor is the head, while requests run on it."""
    assert driver.poll() is None, driver.text()
    tail = driver.text().splitlines()[-1:]
    for host in cluster.hosts[2:]:
        part = next((p for line in tail for p in line.split(" | ") if f"{host.name}:" in p), "")
        if "tokens/s" in part:
            return host
    return None


def whole(cluster, name):
    """Check that every trial is valid once, and every trace what its manifest says."""
    check_records(cluster.records_of(name))
    assert [v["n"] for v in valid(cluster, name)] == [1] * WANTED


def lost(cluster, name):
    """Return the trials that lost their node."""
    return cluster.sql("select trial, error from trials where failure_class = 'node_lost'", name)


def test_a_host_whose_plug_is_pulled_and_that_comes_back(cluster, begun):
    driver, victim, end = begun("plug")
    victim.kill()
    driver.said(f"the agent on {victim.name} was lost")
    cluster.restart(victim)
    said = end()
    assert "done by another node, or here once it is back" in said
    assert len(lost(cluster, "plug")) == 1
    nothing_left(cluster.hosts)


@long_one
def test_a_network_that_is_cut_for_seconds_costs_nothing(cluster, begun):
    _, victim, end = begun("seconds")
    victim.cut()
    time.sleep(2.5)
    victim.heal()
    end()
    assert lost(cluster, "seconds") == []
    nothing_left(cluster.hosts)


@long_one
def test_an_agent_that_is_killed(cluster, begun):
    driver, victim, end = begun("agent")
    agent = next(p for p in cluster.raylets[victim.name].tree() if "_AgentActor" in " ".join(p.cmdline()))
    agent.kill()
    driver.said(f"the agent on {victim.name} was lost")
    end()
    nothing_left(cluster.hosts)


@long_one
def test_a_driver_that_is_killed_leaves_nothing_running_and_the_same_command_goes_on(cluster, begun):
    driver, _, _ = begun("driver")
    driver.signal(signal.SIGKILL)
    driver.wait(30)
    nothing_left(cluster.hosts)
    trials = cluster.records_of("driver") / "trials"
    before = {p.name: p.read_bytes() for p in trials.glob("*.json")}
    complete(cluster, "driver", host=cluster.hosts[2])
    after = {p.name: p.read_bytes() for p in trials.glob("*.json")}
    assert before.items() <= after.items()
    whole(cluster, "driver")
    nothing_left(cluster.hosts)


@long_one
def test_a_raylet_that_is_killed(cluster, begun):
    driver, victim, end = begun("raylet")
    cluster.ray_process(victim, "raylet").kill()
    driver.said(f"the agent on {victim.name} was lost")
    cluster.raylets[victim.name].wait(60)
    cluster.up([victim])
    end()
    nothing_left(cluster.hosts)


@long_one
def test_a_network_that_is_cut_for_good_ends_what_runs_behind_it(cluster, begun):
    driver, victim, end = begun("good")
    victim.cut()
    driver.said(f"the agent on {victim.name} was lost")
    end()
    # Its agent's lease is over: nothing runs on although nobody can reach it.
    nothing_left([victim], 150)
    victim.kill()
    victim.heal()
    cluster.restart(victim)


@long_one
def test_a_driver_that_hangs_loses_its_agents_and_its_sweep(cluster, begun):
    driver, _, _ = begun("hangs")
    driver.hang()
    wait_for(lambda: not any("JOULEMARK" in c or "llamacpp" in c for h in cluster.hosts for c in of_ours(h)), 150)
    complete(cluster, "hangs", host=cluster.hosts[2])
    driver.go_on()
    assert driver.wait(120) in (0, 1, 2, 130), driver.text()
    whole(cluster, "hangs")
    nothing_left(cluster.hosts)


@long_one
def test_a_head_that_dies_and_is_started_again(cluster, begun):
    driver, _, end = begun("head")
    for process in cluster.raylets[cluster.head.name].tree():
        process.kill()
    time.sleep(3)
    cluster.up([cluster.head])
    end()
    nothing_left(cluster.hosts)
    assert driver.poll() is not None


@long_one
def test_a_host_whose_disk_is_full(cluster, begun):
    """Its records cannot be written: others do its work, and the user is told."""
    victim = cluster.hosts[3]
    folder = victim.folder / "home" / "nodes"
    folder.mkdir(exist_ok=True)
    mounted = victim.run("mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(cluster.home / "nodes"))
    assert mounted.poll() == 0, mounted.text()
    try:
        _, _, end = begun("disk")
        said = end()
        assert "no space left" in said
    finally:
        victim.run("umount", "--lazy", str(cluster.home / "nodes"))
    nothing_left(cluster.hosts)


STORE = """
import sys
import moto.server
from werkzeug.serving import make_server
app = moto.server.DomainDispatcherApplication(moto.server.create_backend_app)
make_server("0.0.0.0", int(sys.argv[1]), app, threaded=True).serve_forever()
"""
BUCKET = """
import sys, time
from pyarrow import fs
while True:
    try:
        fs.S3FileSystem(endpoint_override=sys.argv[1], allow_bucket_creation=True).create_dir("records")
        break
    except OSError:
        time.sleep(1)
"""


@long_one
def test_an_object_store_that_stands_still_for_a_while(cluster, begun):
    """Only the driver has its credentials and its address: traces go through the driver."""
    server = cluster.head.start(sys.executable, "-c", STORE, "5000")
    address = f"http://{cluster.head.address}:5000"
    store = {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": address,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        assert cluster.hosts[1].run(sys.executable, "-c", BUCKET, address, environment=store).poll() == 0
        place = "s3://records/one"
        driver, _, _ = begun("away", records=place, environment=store)
        server.signal(signal.SIGSTOP)
        time.sleep(20)
        server.signal(signal.SIGCONT)
        assert driver.wait(400) in (0, 1), driver.text()
        complete(cluster, "away", records=place, environment=store)
        query = "select count(distinct start) as n, count(*) as valid from trial_results where valid"
        asked = cluster.hosts[1].run(program("joulemark"), "sql", query, "--csv", "-w", place, environment=store)
        assert asked.text().splitlines()[-1] == f"4,{WANTED}", asked.text()
    finally:
        server.signal(signal.SIGKILL)
    nothing_left(cluster.hosts)


def test_hosts_are_really_apart(cluster):
    """The harness itself: a cut host reaches nobody, and sees no process of another."""
    one, other = cluster.hosts[2], cluster.hosts[3]
    reach = ["bash", "-c", f"timeout 3 bash -c '</dev/tcp/{other.address}/22' 2>&1; true"]
    assert "refused" in one.run(*reach).text().lower()
    one.cut()
    try:
        assert "refused" not in one.run(*reach).text().lower()
    finally:
        one.heal()
    seen = one.run("bash", "-c", "hostname; ls -d /proc/[0-9]* | wc -l").text().split()
    assert seen[0] == one.name
    assert int(seen[1]) < len(list(Path("/proc").glob("[0-9]*")))
    assert subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip() != one.name
