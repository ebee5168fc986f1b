"""Kinds of nodes in one sweep: vLLM's CPU build, simulated GPUs, and eight boards of the NVML double.

It runs undisturbed, and again while nodes, networks, agents, engines and the driver are lost: both times every trial
is valid once, with its traces as they were sealed.

    JOULEMARK_TEST_MULTIHOST=all pytest tests/multihost/test_kinds.py
"""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "nvml_double"))
from chaos import whole_again
from hosts import wait_for, why_not
from nvml_double import Double, NoCompiler, build, devices
from ray_hosts import Cluster, nothing_left
from test_sweeps import check_records, complete, valid
from truth import Square

from joulemark.agents.engines.host import LAUNCHERS
from joulemark.agents.environments import ensure_environment
from joulemark.agents.models import prepare_model
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.engines.catalogue import default_version, environment_set

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.environ.get("JOULEMARK_TEST_MULTIHOST") != "all", reason="takes long: JOULEMARK_TEST_MULTIHOST=all runs it"
    ),
]

BOARDS, PORT = 8, 8123
WITH_BOARDS = 3
"""The host that has them."""
SWEEP = f"""
schema: 1
name: NAME
matrix:
  link:
    - {{model: tiny-dense, quantization: bf16, engine: vllm, accelerator: cpu}}
    - {{model: llama-3.1-8b, quantization: fp8, engine: simulated, accelerator: H200}}
    - {{model: tiny-dense, quantization: q4_0, engine: endpoint, accelerator: H100}}
  concurrency: [1, 2]
workload: {{input_tokens: 32, output_tokens: 16, seed: 1}}
measure: {{repeats: 2, starts: 2, warmup: 0.5s, window: 4s}}
engines: {{endpoint: {{url: "http://127.0.0.1:{PORT}", version: somebodys, devices: [0]}}}}
"""
WANTED = 3 * 2 * 2 * 2
BETWEEN_S = 12.0


class Kinds(Cluster):
    """A cluster whose last host has boards, and a server on it that was started by somebody else."""

    def __init__(self, cache, folder):
        boards = Double(folder, build(folder), devices(BOARDS, Square(100, 400, 2.0)))
        super().__init__(4, cache, boards={WITH_BOARDS: (BOARDS, "H100", boards.environment)})
        interpreter, model = _server(cache)
        self.server = [str(interpreter), str(LAUNCHERS["llamacpp"]), "--model", str(model), "--port", str(PORT)]

    def up(self, hosts=None):
        """Start the server where it belongs, and then Ray."""
        host = self.hosts[WITH_BOARDS]
        if hosts is None or host in hosts:
            host.run("ip", "link", "set", "lo", "up")
            host.start(*self.server, "--slots", "2", "--alias", "somebodys")
        super().up(hosts)


def _server(cache):
    for engine in ("vllm", "llamacpp"):
        version = default_version(engine, on_cpu=True)
        interpreter = ensure_environment(environment_set(engine, version, on_cpu=True), cache, print)
    return interpreter, prepare_model(ModelRef("tiny-dense", "generated", "tiny-dense"), "q4_0", "gguf", cache)


@pytest.fixture(scope="module")
def kinds(cache, tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    try:
        made = Kinds(cache, tmp_path_factory.mktemp("boards"))
    except NoCompiler as error:
        pytest.skip(str(error))
    try:
        made.up()
        yield made
    finally:
        made.close()


def whole(cluster, name):
    """Check the records and return the trials that are valid."""
    check_records(cluster.records_of(name))
    found = valid(cluster, name)
    twice = cluster.sql(
        "select t.engine, r.trial, r.boundary, r.nodes, r.start, r.repeat, r.attempt, r.started_at::varchar as began "
        "from trial_results r join trials t using (trial) where r.valid qualify count(*) over "
        "(partition by r.cell, r.start, r.repeat) > 1 order by all",
        name,
    )
    assert twice == []
    assert [v["n"] for v in found] == [1] * WANTED
    rows = cluster.sql(
        "select distinct t.engine, r.boundary, r.fidelity from trial_results r join trials t using (trial) "
        "where r.valid and r.energy_j > 0",
        name,
    )
    found_by = {(r["engine"], r["boundary"]): r["fidelity"] for r in rows}
    assert found_by["vllm", "cpu"] in ("modelled", "counter")
    assert found_by["simulated", "gpu"] == "simulated"
    assert found_by["endpoint", "gpu"] in ("counter", "sampled")
    return {(v["cell"], v["start"], v["repeat"]) for v in found}


@pytest.fixture(scope="module")
def undisturbed(kinds):
    kinds.sweep(SWEEP.replace("NAME", "calm"), "calm")
    complete(kinds, "calm")
    return whole(kinds, "calm")


def test_undisturbed_every_kind_of_node_measures(kinds, undisturbed):
    assert len(undisturbed) == WANTED
    boards = kinds.sql("select count(distinct device) as n from power where meter = 'nvml'", "calm")
    assert boards == [{"n": BOARDS}]
    nothing_left(kinds.hosts)


def test_whatever_is_lost_the_same_trials_are_valid_in_the_end(kinds, undisturbed):
    sweep = kinds.sweep(SWEEP.replace("NAME", "storm"), "storm")
    run = ("run", sweep, "--cluster", kinds.address)
    records = kinds.records_of("storm")
    driver = kinds.joulemark(*run, records=records)
    driver.said("tokens/s", 200)
    said = []
    for fault in (_kill_agent, _cut_for_seconds, _kill_engine, _pull_plug, _kill_raylet):
        fault(kinds)
        said.append(fault.__name__)
        time.sleep(BETWEEN_S)
        if driver.poll() is not None:
            break
    if driver.poll() is None:
        driver.signal(signal.SIGKILL)
        driver.wait(30)
    whole_again(kinds)
    complete(kinds, "storm", runs=4)
    assert len(said) >= 3, f"it was over after {said}"
    assert whole(kinds, "storm") == undisturbed
    nothing_left(kinds.hosts)


def _kill_agent(cluster):
    host = cluster.hosts[WITH_BOARDS]
    agent = next(p for p in cluster.raylets[host.name].tree() if "_AgentActor" in " ".join(p.cmdline()))
    agent.kill()


def _cut_for_seconds(cluster):
    host = cluster.hosts[2]
    host.cut()
    time.sleep(2.5)
    host.heal()


def _kill_engine(cluster):
    engines = wait_for(
        lambda: [p for h in cluster.hosts for p in h.processes() if "vllm.entrypoints" in " ".join(p.cmdline())],
        120,
        "a vLLM",
    )
    engines[0].kill()


def _pull_plug(cluster):
    host = cluster.hosts[WITH_BOARDS]
    host.kill()
    cluster.restart(host)


def _kill_raylet(cluster):
    host = cluster.hosts[2]
    cluster.ray_process(host, "raylet").kill()
    cluster.raylets[host.name].wait(60)
    cluster.up([host])
