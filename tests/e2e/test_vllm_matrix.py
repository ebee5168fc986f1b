"""What vLLM's CPU build runs, and what it does not: each launched for real, each failure with its class and a line.

One that it refuses always; all of it (about half an hour on two cores) with

    JOULEMARK_TEST_MATRIX=all pytest tests/e2e/test_vllm_matrix.py

What needs more than this CPU has (AVX-512, AMX) may fail as `unsupported`, and nothing else may.
"""

import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

pytestmark = [pytest.mark.engine, pytest.mark.timeout(5400)]

ALL = os.environ.get("JOULEMARK_TEST_MATRIX") == "all"
EXAMPLE = Path(__file__).parents[2] / "workloads" / "examples" / "vllm-cpu-all.yaml"
SWEEP = """
schema: 1
name: vllm-matrix
matrix:
  engine: vllm
  accelerator: cpu
  link:
    - {cell}
  concurrency: 2
workload: {{input_tokens: 32, output_tokens: 16, seed: 1}}
measure: {{repeats: 2, warmup: 1s, window: 4s}}
"""
SECONDS = 3600
BY_CPU = {
    "fp8": "amx_tile",
    "w4a16": "avx512f",
    "gptq": "avx512f",
    "awq": "avx512f",
    "tiny-moe": "amx_tile",
}
"""What a quantization, or a mixture of experts in one, needs of the CPU."""


def flags():
    """What this CPU has."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


REFUSED = {
    "{model: tiny-dense, quantization: bf16, parallel: {pipeline: 2}}": ("unsupported", "use tensor or data parallel"),
    "{model: tiny-dense, quantization: bf16, engine.quantization: mxfp8}": ("unsupported", "MXFP8 linear layer"),
    "{model: tiny-dense, quantization: bf16, parallel: {tensor: 4}}": ("unsupported", "must be divisible by"),
    "{model: tiny-dense, quantization: bf16, engine.quantization: fp8_per_tensor}": ("unsupported", "fp8_quant"),
    "{model: tiny-dense, quantization: bf16, engine.quantization: bitsandbytes}": (
        "unsupported",
        "Unknown quantization method: bitsandbytes",
    ),
    "{model: tiny-moe, quantization: fp8}": (
        "unsupported",
        "FP8 MoE backend" if "amx_tile" in flags() else "requires AMX tile support",
    ),
    "{model: tiny-moe, quantization: bf16, parallel: {tensor: 2, expert: true}}": ("engine_crashed", "crashed in its"),
    "{model: tiny-dense, quantization: bf16, engine.env.VLLM_CPU_KVCACHE_SPACE: 4000}": (
        "out_of_memory",
        "no room is left for the KV cache",
    ),
}
"""Cells that are forced, and how they end."""
CHOSEN = list(REFUSED) if ALL else [cell for cell in REFUSED if "pipeline" in cell]


def lacking(model, quantization):
    """What this CPU lacks for a model in a precision."""
    needed = set() if quantization in ("bf16", "fp16") else {BY_CPU[f] for f in (model, quantization) if f in BY_CPU}
    return needed - flags()


def excused(row):
    """Whether this CPU lacks what a failed trial needed."""
    return row["failure_class"] == "unsupported" and bool(lacking(row["model"], row["quantization"]))


@pytest.mark.skipif(not ALL, reason="takes long: JOULEMARK_TEST_MATRIX=all runs it; some of it is in test_vllm_cpu.py")
def test_what_it_runs_is_measured(joulemark):
    cells = re.findall(r"model: ([\w-]+), quantization: ([\w-]+)", EXAMPLE.read_text())
    if any(lacking(*cell) for cell in cells):
        joulemark("run", EXAMPLE, code=1, seconds=SECONDS)
    else:
        joulemark.complete(EXAMPLE, seconds=SECONDS)
    rows = joulemark.sql("select model, quantization, outcome, failure_class, error from trials")
    failed = [row for row in rows if row["outcome"] == "failed" and not excused(row)]
    assert failed == []
    for manifest in (m for m in raw.manifests(joulemark.warehouse) if m["outcome"] == "done"):
        answered = [r for r in raw.requests(joulemark.warehouse, manifest) if r["status"] == "ok"]
        assert answered
        assert all(raw.timed_tokens(r) + r["untimed_tokens"] == r["output_tokens"] for r in answered)


@pytest.mark.parametrize("cell", CHOSEN)
def test_what_it_refuses_is_tried_once_and_says_why(joulemark, cell):
    failure_class, words = REFUSED[cell]
    run = joulemark("run", joulemark.sweep(SWEEP.format(cell=cell)), "--force", code=1)
    rows = joulemark.sql("select repeat, attempt, outcome, failure_class, error from trials order by repeat")
    # Of a worker that crashes on a busy machine vLLM cannot always say how it ended, and that is tried again.
    told = [r for r in rows if not (failure_class == "engine_crashed" and "(exit code: None)" in r["error"])]
    assert [(r["outcome"], r["failure_class"]) for r in told] == [("failed", failure_class)] * 2
    assert [r["attempt"] for r in rows if r["repeat"]] == [0]
    assert all(words in r["error"] for r in told)
    assert words in run.stderr
    if len(told) == len(rows):
        assert len(list((joulemark.warehouse / "logs").glob("*.log"))) == 1, "it was started more than once"
