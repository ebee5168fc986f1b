"""Several engines, and several versions of one, in one run that ends in one leaderboard.

Two versions of llama.cpp always; llama.cpp, vLLM and SGLang (6 minutes, 6 GB) with

    JOULEMARK_TEST_SGLANG=1 pytest tests/e2e/test_side_by_side.py
"""

import json
import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

MIXED = Path(__file__).parents[2] / "workloads" / "examples" / "mixed.yaml"
VERSIONS = """
schema: 1
name: versions
matrix:
  model: tiny-dense
  quantization: q4_0
  engine: [{name: llamacpp, version: "2026.9.11063"}, {name: llamacpp, version: "2026.10.11549"}]
  concurrency: 2
workload: {input_tokens: 32, output_tokens: 16, seed: 1}
measure: {repeats: 1, warmup: 0.5s, window: 2s}
"""


def test_two_versions_of_an_engine_each_in_its_environment(joulemark):
    joulemark.complete(joulemark.sweep(VERSIONS))
    rows = json.loads(joulemark("leaderboard", "--json").stdout)
    assert sorted(r["engine_version"] for r in rows) == ["2026.10.11549", "2026.9.11063"]
    query = """
        select distinct engine ->> '$.version' as asked, engine ->> '$.reported.version' as said,
            engine ->> '$.requirement_set' as made_from
        from (select engine::json as engine from manifests)
    """
    engines = joulemark.sql(query)
    assert {e["made_from"] for e in engines} == {f"llamacpp-{e['asked']}" for e in engines}
    assert len({e["said"] for e in engines}) == 2, "both say that they are the same"
    assert "version" in joulemark("leaderboard").stdout


@pytest.mark.skipif(not os.environ.get("JOULEMARK_TEST_SGLANG"), reason="set JOULEMARK_TEST_SGLANG=1 to run SGLang")
def test_three_engines_dense_and_moe(joulemark):
    done = joulemark.complete(MIXED)
    rows = json.loads(joulemark("leaderboard", "--json").stdout)
    assert {(r["engine"], r["model"]) for r in rows} == {
        (engine, model) for engine in ("llamacpp", "vllm", "sglang") for model in ("tiny-dense", "tiny-moe")
    }
    assert len({(r["boundary"], r["fidelity"], r["task"]) for r in rows}) == 1
    assert {r["ranked_rows"] for r in rows} == {12}
    assert done.stdout.count("energy per output token") == 1
    assert "sglang 0.5.23 here is put together to test how it is run: its figures mean nothing" in done.stdout
    joulemark("publish", "site", "--no-traces")
