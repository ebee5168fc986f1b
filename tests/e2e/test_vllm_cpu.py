"""The main job on vLLM's CPU build: a dense model and a mixture of experts, and a combination that it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SWEEP = """
schema: 1
name: vllm-e2e
matrix:
  link:
    - {model: tiny-dense, quantization: bf16}
    - {model: tiny-dense, quantization: int8-w8a8}
    - {model: tiny-moe, quantization: bf16}
    - {model: tiny-moe, quantization: fp8}
  engine: vllm
  accelerator: cpu
  concurrency: 4
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, warmup: 1s, window: 4s}
"""
CELLS = [("tiny-dense", "bf16"), ("tiny-dense", "int8-w8a8"), ("tiny-moe", "bf16")]
"""The fourth is left out: vLLM's CPU build runs no experts in fp8, on any CPU."""
REPEATS = 2
CONCURRENCY = 4
OUTPUT_TOKENS = 16

REFUSED = """
schema: 1
name: vllm-refused
matrix: {model: tiny-dense, engine: vllm, accelerator: cpu, parallel: {tensor: 4}, concurrency: 4}
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 2, warmup: 1s, window: 4s}
"""
"""vLLM takes four ranks as an argument and refuses them when it sees the model: it has six attention heads."""


@pytest.fixture(scope="module")
def swept(cli_in, tmp_path_factory):
    """A sweep over vLLM that ran until it was complete."""
    cli = cli_in(tmp_path_factory.mktemp("vllm"))
    cli.output = cli.complete(cli.sweep(SWEEP))
    cli.valid = {r["trial"]: r for r in cli.sql("select * from trial_results where valid")}
    shares = cli.sql("select trial, sum(energy_j) as j from request_energy group by trial")
    cli.shares_j = {r["trial"]: r["j"] for r in shares}
    cli.manifests = [m for m in raw.manifests(cli.warehouse) if m["trial"] in cli.valid]
    return cli


def alive(warehouse):
    """Processes that carry the mark of an engine start of this warehouse in their environment."""
    marks = {f"JOULEMARK_START={log.stem}".encode() for log in (warehouse / "logs").glob("*.log")}
    assert marks, "no engine was started"
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
        except OSError:
            # It ended between the two looks.
            continue
        if marks & set(variables):
            found.append(environment.parent.name)
    return found


def test_every_cell_has_its_valid_trials(swept):
    measured = sorted((m["factors"]["model"]["name"], m["factors"]["quantization"]) for m in swept.manifests)
    assert measured == sorted(CELLS * REPEATS)
    rows = json.loads(swept("leaderboard", "--json").stdout)
    assert sorted((r["model"], r["quantization"]) for r in rows) == sorted(CELLS)
    assert {(r["engine"], r["boundary"], r["grade"]) for r in rows} == {("vllm", "cpu", "quick")}
    assert all(r["j_per_token"] > 0 for r in rows)


def test_what_the_cpu_build_cannot_run_is_left_out_and_said(swept):
    plan = json.loads(swept("plan", swept.folder / "sweep.yaml", "--json").stdout)
    assert (plan["wanted"], plan["done"]) == (len(CELLS) * REPEATS,) * 2
    (excluded,) = plan["excluded"]
    assert "tiny-moe fp8" in excluded["what"]
    assert excluded["kind"] == "incompatible"


def test_tokens_of_every_request_equal_the_engines_own_count(swept):
    for manifest in swept.manifests:
        answered = [r for r in raw.requests(swept.warehouse, manifest) if r["status"] == "ok"]
        assert len(answered) > 2 * CONCURRENCY
        for row in answered:
            assert raw.timed_tokens(row) + row["untimed_tokens"] == row["output_tokens"] == 16
            assert row["input_tokens"] == row["asked_input_tokens"] == 32
            # No two prompts are alike: none was in the engine's cache, and it says so.
            assert row["cached_tokens"] == 0


def test_window_energy_from_raw_parquet_alone_equals_the_view(swept):
    for manifest in swept.manifests:
        energy_j = raw.window_energy_j(swept.warehouse, manifest)
        assert energy_j > 0
        assert swept.valid[manifest["trial"]]["energy_j"] == pytest.approx(energy_j, rel=1e-6)
        assert swept.shares_j[manifest["trial"]] == pytest.approx(energy_j, rel=1e-6)


def test_the_engine_says_what_it_runs(swept):
    for manifest in swept.manifests:
        engine, reported = manifest["engine"], manifest["engine"]["reported"]
        quantized = manifest["factors"]["quantization"] == "int8-w8a8"
        assert reported["dtype"] == "torch.bfloat16"
        assert reported.get("quantization") == ("compressed-tensors" if quantized else None)
        assert (reported["tensor_parallel_size"], reported["pipeline_parallel_size"]) == (1, 1)
        assert reported["enforce_eager"] is True
        assert reported["kv_blocks"] * reported["kv_block_tokens"] >= reported["kv_tokens"] > 0
        assert reported["version"].startswith(engine["version"])
        assert reported["context_tokens"] >= 48
        assert Path(reported["model_path"]).is_dir()
        assert manifest["factors"]["model"]["name"] in reported["model_path"]
        assert (swept.warehouse / engine["log"]).stat().st_size > 0


def test_one_start_serves_all_repeats(swept):
    starts = {}
    for manifest in swept.manifests:
        starts.setdefault(manifest["deployment"], set()).add(manifest["engine"]["start_id"])
    assert len(starts) == len(CELLS)


def test_the_engines_own_counters_were_scraped_and_moved(swept):
    running = []
    for manifest in swept.manifests:
        rows = pq.read_table(swept.warehouse / "engine_state" / f"{manifest['trial']}.parquet").to_pylist()
        generated = [r["generation_tokens_total"] for r in sorted(rows, key=lambda r: r["t"])]
        # On a busy machine a scrape can take as long as the window; the first and the last are there always.
        assert len(generated) >= 2
        assert generated == sorted(generated)
        assert generated[-1] > generated[0]
        running += [r["running"] for r in rows]
        requests = raw.requests(swept.warehouse, manifest)
        # Of a request that was cut off, the engine may have made tokens that never arrived.
        at_most = sum(OUTPUT_TOKENS if r["status"] != "ok" else r["output_tokens"] for r in requests)
        assert generated[-1] - generated[0] <= at_most
    assert 0 < max(running) <= CONCURRENCY


def test_nothing_is_left_running(swept):
    assert alive(swept.warehouse) == []


def test_what_is_left_would_be_seen(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{tmp_path.name}.log").touch()
    environment = {**os.environ, "JOULEMARK_START": tmp_path.name}
    with subprocess.Popen(["cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as left:
        # A program that answers has its environment; one that was only just started may not have it yet.
        left.stdin.write(b"there?")
        assert left.stdout.read(6) == b"there?"
        assert alive(tmp_path) == [str(left.pid)]
    assert alive(tmp_path) == []


def test_a_combination_that_it_refuses_is_tried_once_and_recorded(joulemark):
    sweep = joulemark.sweep(REFUSED)
    left_out = joulemark("plan", sweep, code=2)
    assert "6 attention heads of tiny-dense" in left_out.stderr
    run = joulemark("run", sweep, "--force", code=1)
    assert "forced: tiny-dense" in run.stderr
    failed = joulemark.sql("select outcome, failure_class, error, attempt from trials")
    assert [(f["outcome"], f["failure_class"], f["attempt"]) for f in failed] == [
        ("failed", "unsupported", 0)
    ] * REPEATS
    assert all("divisible" in f["error"] for f in failed)
    (log,) = (joulemark.warehouse / "logs").glob("*.log")
    assert "divisible" in log.read_text()
    assert alive(joulemark.warehouse) == []
    learnt = json.loads(joulemark("plan", sweep, "--force", "--json").stdout)
    assert [f["kind"] for f in learnt["forced"]] == ["learnt"]
    assert "(unsupported)" in learnt["forced"][0]["reason"]
