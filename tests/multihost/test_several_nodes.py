"""One engine over two hosts for real, and what happens when a part of it ends: vLLM's CPU build, two replicas.

JOULEMARK_TEST_MULTIHOST=all pytest tests/multihost/test_several_nodes.py
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ray_hosts import nothing_left
from test_sweeps import check_records, complete, valid

from joulemark.agents.environments import ensure_environment
from joulemark.workloads.engines.catalogue import default_version, environment_set

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.environ.get("JOULEMARK_TEST_MULTIHOST") != "all", reason="takes long: JOULEMARK_TEST_MULTIHOST=all runs it"
    ),
]

SWEEP = """
schema: 1
name: NAME
matrix:
  model: tiny-dense
  quantization: bf16
  engine: vllm
  accelerator: cpu
  parallel: {data: 2, nodes: 2}
  concurrency: 4
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, warmup: 2s, window: 8s}
"""
WANTED = 2


@pytest.fixture(scope="module")
def vllm(cache):
    ensure_environment(environment_set("vllm", default_version("vllm", on_cpu=True), on_cpu=True), cache, print)


def ranks(cluster):
    """Return the hosts and processes of vLLM's ranks: the one that serves first."""
    found = [
        (host, process, "--headless" in process.cmdline())
        for host in cluster.hosts
        for process in host.processes()
        if "--nnodes" in process.cmdline()
    ]
    return [(host, process) for host, process, _ in sorted(found, key=lambda f: f[2])]


def whole(cluster, name):
    """Check that all trials are valid once, each with a part on two nodes whose windows are as long; return these."""
    manifests = check_records(cluster.records_of(name))
    assert [v["n"] for v in valid(cluster, name)] == [1] * WANTED
    done = [m for m in manifests if m["outcome"] == "done"]
    for manifest in done:
        head, other = manifest["nodes"]
        assert head["node"] != other["node"]
        for part in (head, other):
            assert part["window"] is not None
            assert part["loaded_idle"] is not None
        lengths = {p["window"]["end_us"] - p["window"]["start_us"] for p in (head, other)}
        assert len(lengths) == 1
    return done


def test_two_replicas_on_two_hosts_are_one_trial(cluster, vllm):
    cluster.sweep(SWEEP.replace("NAME", "replicas"), "replicas")
    complete(cluster, "replicas")
    done = whole(cluster, "replicas")
    rows = cluster.sql("select trial, spanned_nodes, data_parallel from trials where outcome = 'done'", "replicas")
    assert {(r["spanned_nodes"], r["data_parallel"]) for r in rows} == {(2, 2)}
    parts = cluster.sql(
        "select r.trial, r.energy_j, list(c.node) as nodes, sum(c.energy_j) as together, min(c.energy_j) as least "
        'from trial_results r join trial_components c using (trial, boundary) where r.valid and c."interval" = '
        "'window' group by all",
        "replicas",
    )
    assert len(parts) == WANTED
    for row in parts:
        assert len(set(row["nodes"])) == 2
        assert row["least"] > 0
        assert row["energy_j"] == pytest.approx(row["together"], rel=1e-6)
    # Both replicas were at work, each on its host.
    logs = [p.read_text(errors="replace") for p in (cluster.records_of("replicas") / "logs").glob("*.log")]
    assert any("EngineCore_DP1" in text for text in logs)
    assert any("EngineCore_DP0" in text for text in logs)
    assert all(m["engine"]["reported"]["data_parallel_size"] == 2 for m in done)
    nothing_left(cluster.hosts)


def test_a_rank_that_is_killed_ends_all_of_it_and_the_trial_is_tried_again(cluster, vllm):
    sweep = cluster.sweep(SWEEP.replace("NAME", "killed"), "killed")
    driver = cluster.joulemark("run", sweep, "--cluster", cluster.address, records=cluster.records_of("killed"))
    driver.said("tokens/s", 400)
    _, (host, process) = ranks(cluster)
    process.kill()
    driver.said(f"on {host.name}: vllm", 120)
    if driver.wait(900):
        complete(cluster, "killed")
    whole(cluster, "killed")
    failed = cluster.sql("select error, nodes, failure_class from trials where outcome = 'failed'", "killed")
    assert {f["failure_class"] for f in failed} == {"engine_died"}
    assert len(failed[0]["nodes"]) == 2
    nothing_left(cluster.hosts)


def test_a_host_that_is_lost_ends_its_part_and_the_rest_is_done_by_others(cluster, vllm):
    sweep = cluster.sweep(SWEEP.replace("NAME", "lost"), "lost")
    driver = cluster.joulemark("run", sweep, "--cluster", cluster.address, records=cluster.records_of("lost"))
    driver.said("tokens/s", 400)
    used = [host for host, _ in ranks(cluster)]
    assert len(used) == 2
    victim = next((h for h in used if h in cluster.hosts[2:]), None)
    if victim is not None:
        victim.kill()
        driver.said(f"the agent on {victim.name} was lost", 120)
        cluster.restart(victim)
    else:
        # They are the driver's host and the head's, whose loss is another test: only its agent then.
        tree = cluster.raylets[cluster.head.name].tree()
        next(p for p in tree if "_AgentActor" in " ".join(p.cmdline())).kill()
        driver.said(f"the agent on {cluster.head.name} was lost", 120)
    if driver.wait(900):
        complete(cluster, "lost")
    whole(cluster, "lost")
    nothing_left(cluster.hosts)
