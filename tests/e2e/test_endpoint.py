"""A server that runs already: measured without being started or ended, on what meters reach it."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

from joulemark.agents.engines.host import LAUNCHERS
from joulemark.agents.environments import ensure_environment
from joulemark.agents.models import prepare_model
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.engines.catalogue import default_version, environment_set

pytestmark = pytest.mark.engine

SWEEP = """
schema: 1
name: endpoint
matrix: {{model: tiny-dense, quantization: q4_0, engine: endpoint, concurrency: 2}}
workload: {{input_tokens: 32, output_tokens: 16, seed: 1}}
measure: {{repeats: 2, warmup: 0.5s, window: 2s}}
engines: {{endpoint: {endpoint}}}
"""


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    """Llama.cpp, started by somebody else."""
    interpreter = ensure_environment(environment_set("llamacpp", default_version("llamacpp", True), True), home, print)
    model = prepare_model(ModelRef("tiny-dense", "generated", "tiny-dense"), "q4_0", "gguf", home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [str(interpreter), str(LAUNCHERS["llamacpp"]), "--model", str(model), "--port", str(port), "--slots", "2"]
    with (
        (tmp_path_factory.mktemp("server") / "log").open("wb") as log,
        subprocess.Popen([*argv, "--alias", "somebodys"], stdout=log, stderr=log) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not answers(url):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url, process
        assert process.poll() is None, "it was somebody else's, and was ended"
        process.terminate()


def answers(url):
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=1).status == 200
    except OSError:
        return False


def test_it_is_measured_and_left_as_it_was(joulemark, server):
    url, process = server
    joulemark.complete(joulemark.sweep(SWEEP.format(endpoint=url)))
    manifests = [m for m in raw.manifests(joulemark.warehouse) if m["outcome"] == "done"]
    assert manifests
    for manifest in manifests:
        assert manifest["factors"]["engine"] == {"name": "endpoint", "version": "undeclared", "args": {}}
        engine = manifest["engine"]
        assert engine["argv"] == []
        assert engine["reported"]["owned_by"] == "llamacpp"
        assert engine["reported"]["models"] == ["somebodys"]
        assert engine["reported"]["model_ftype"].lower() == "q4_0"
        assert engine["reported"]["url"] == url
        for row in raw.requests(joulemark.warehouse, manifest):
            if row["status"] == "ok":
                assert row["output_tokens"] == 16
    rows = joulemark.sql("select energy_j, mean_w, fidelity from trial_results where valid")
    assert len(rows) == 2
    assert all(r["energy_j"] > 0 for r in rows), "its process tree was not watched"
    states = joulemark.sql("select max(generation_tokens_total) as n from engine_state")
    assert states[0]["n"] > 0
    assert process.poll() is None


def test_where_it_is_makes_no_other_cell(joulemark, server):
    url, _ = server
    joulemark.complete(joulemark.sweep(SWEEP.format(endpoint=url)))
    again = joulemark("plan", joulemark.sweep(SWEEP.format(endpoint="http://127.0.0.1:1")))
    assert "of which 2 are done" in again.stdout


def test_nobody_there_and_a_model_that_it_does_not_serve(joulemark, server):
    url, _ = server
    sweep = SWEEP.replace("repeats: 2", "repeats: 1")
    joulemark("run", joulemark.sweep(sweep.format(endpoint=f"{{url: {url}, served: another, version: b}}")), code=1)
    failed = joulemark.sql("select failure_class, error from trials")
    assert [f["failure_class"] for f in failed] == ["unsupported"]
    assert "serves somebodys, not another: name one of them as `served:`" in failed[0]["error"]


def test_a_version_that_it_denies_is_a_mismatch():
    from joulemark.workloads.engines.endpoint import Endpoint

    class Cell:
        class engine:  # noqa: N801 -- stands for a field
            version = "vllm 0.33.0"

    assert Endpoint().mismatches(Cell, {"version": "0.32.0"}) == ["version: declared vllm 0.33.0, and it says 0.32.0"]
    assert Endpoint().mismatches(Cell, {"version": "0.33.0"}) == []
    assert Endpoint().mismatches(Cell, {}) == []
