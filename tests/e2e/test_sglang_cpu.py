"""SGLang's adapter on an environment put together for the CPU: launch, ready, metrics, usage, read-back, stop.

Outside CI, because the environment takes 3.5 GB and minutes; no figure of it means anything:

    JOULEMARK_TEST_SGLANG=1 pytest tests/e2e/test_sglang_cpu.py
"""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not os.environ.get("JOULEMARK_TEST_SGLANG"), reason="set JOULEMARK_TEST_SGLANG=1 to run SGLang"),
]

SWEEP = """
schema: 1
name: sglang-e2e
matrix: {model: [tiny-dense, tiny-moe], quantization: bf16, engine: sglang, accelerator: cpu, concurrency: 4}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 1, warmup: 1s, window: 8s}
"""


@pytest.fixture(scope="module")
def swept(cli_in, tmp_path_factory):
    cli = cli_in(tmp_path_factory.mktemp("sglang"))
    cli.output = cli.complete(cli.sweep(SWEEP))
    valid = {r["trial"] for r in cli.sql("select trial from trial_results where valid")}
    cli.manifests = [m for m in raw.manifests(cli.warehouse) if m["trial"] in valid]
    return cli


def test_a_dense_model_and_a_mixture_of_experts_are_measured(swept):
    assert sorted(m["factors"]["model"]["name"] for m in swept.manifests) == ["tiny-dense", "tiny-moe"]


def test_tokens_of_every_request_equal_the_engines_own_count(swept):
    for manifest in swept.manifests:
        answered = [r for r in raw.requests(swept.warehouse, manifest) if r["status"] == "ok"]
        assert answered
        for row in answered:
            assert raw.timed_tokens(row) + row["untimed_tokens"] == row["output_tokens"] == 16
            assert row["input_tokens"] == row["asked_input_tokens"] == 32


def test_it_says_what_it_runs(swept):
    for manifest in swept.manifests:
        reported = manifest["engine"]["reported"]
        assert reported["version"] == manifest["engine"]["version"] == "0.5.23"
        assert reported["attention_backend"] == "torch_native"
        assert reported["tp_size"] == 1
        assert reported["context_length"] >= 48
        assert manifest["factors"]["model"]["name"] in reported["model_path"]
        assert manifest["reasons"] == []


def test_its_counters_were_scraped_and_moved(swept):
    for manifest in swept.manifests:
        rows = pq.read_table(swept.warehouse / "engine_state" / f"{manifest['trial']}.parquet").to_pylist()
        # SGLang shows a counter only once it has counted something.
        counted = [r for r in rows if r["generation_tokens_total"] is not None]
        generated = [r["generation_tokens_total"] for r in sorted(counted, key=lambda r: r["t"])]
        assert generated == sorted(generated)
        assert generated[-1] > generated[0]
        assert max(r["running"] for r in counted) > 0


def test_nothing_is_left_running(swept):
    marks = {f"JOULEMARK_START={m['engine']['start_id']}".encode() for m in swept.manifests}
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert not marks & set(environment.read_bytes().split(b"\0"))
        except OSError:
            continue
