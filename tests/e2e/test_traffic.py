"""Every kind of traffic that a sweep file can ask for, on a real engine: what was sent is what was written."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import raw

from joulemark.agents.models import prepare_model
from joulemark.workloads.cell import ModelRef

pytestmark = pytest.mark.engine

KINDS = {
    "even": "{rate: 20, arrivals: constant}",
    "bursts": "{rate: 20, burstiness: 0.5, prefix: {tokens: 16, groups: 2}}",
    "ramp": "{ramp: {from: 5, to: 30, over: 4s}, input_tokens: {distribution: uniform, min: 8, max: 40}}",
    "steps": "{steps: [{rate: 5, for: 2s}, {rate: 25, for: 2s}]}",
    "trace": "{trace: {file: azure.csv, speed: 2, max_input_tokens: 40}, load: {percentile: 50}, "
    "input_tokens: null, output_tokens: null}",
    "fraction": "{load: {fraction: 0.5}, max_in_flight: 4}",
    "own": "{prompts: own.jsonl, stop: natural, input_tokens: null, output_tokens: 8}",
    "talk": "{conversation: {turns: 3, pause: 20ms}}",
    "text": "{tokenizer: tokenizer.json}",
}
SWEEP = """
schema: 1
name: traffic
matrix:
  model: tiny-dense
  quantization: q4_0
  engine: llamacpp
  workload:
{kinds}
workload: {{input_tokens: 32, output_tokens: 8, seed: 1}}
measure: {{repeats: 1, warmup: 1s, window: 3s}}
"""
OUTPUT_TOKENS = 8
OWN = ["Why is the sky blue?", "Count to ten.", "Once upon a time"]


def azure(rows):
    """Rows as in the Azure LLM inference traces."""
    return "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
        f"2023-11-16 18:15:{46 + n // 10:02}.{n % 10}805900,{20 + n},{4 + n % 8}\n" for n in range(rows)
    )


@pytest.fixture(scope="module")
def measured(cli_in, home, tmp_path_factory):
    """One trial of each kind: its manifest and its requests without those of a search."""
    cli = cli_in(tmp_path_factory.mktemp("traffic"))
    (cli.folder / "azure.csv").write_text(azure(130))
    (cli.folder / "own.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in OWN))
    model = Path(prepare_model(ModelRef("tiny-dense", "generated", "tiny-dense"), "bf16", "hf", home))
    (cli.folder / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    cli.complete(cli.sweep(SWEEP.format(kinds="\n".join(f"    - {kind}" for kind in KINDS.values()))))
    manifests = [m for m in raw.manifests(cli.warehouse) if m["outcome"] == "done"]
    found = {}
    for manifest in manifests:
        rows = sorted(raw.requests(cli.warehouse, manifest), key=lambda r: r["request"])
        found[kind_of(manifest["factors"]["workload"])] = manifest, [r for r in rows if r["request"] < 1 << 30]
    assert set(found) == set(KINDS)
    return found


def kind_of(workload):
    marks = {"prefix": "bursts", "prompts": "own", "conversation": "talk", "tokenizer": "text"}
    named = [kind for mark, kind in marks.items() if mark in workload]
    if named:
        return named[0]
    if (workload.get("load") or {}).get("fraction"):
        return "fraction"
    arrivals = workload["arrivals"]
    if arrivals["process"] != "poisson":
        return {"constant": "even", "trace": "trace"}[arrivals["process"]]
    return "ramp" if len(arrivals["stretches"]) == 1 else "steps"


def due_s(rows):
    return [(r["scheduled_at"] - rows[0]["scheduled_at"]).total_seconds() for r in rows]


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("own", "talk")])
def test_lengths_are_exact_by_the_engine_s_own_count(measured, kind):
    """Texts too: their tokens are counted by the tokenizer of the model."""
    _, rows = measured[kind]
    whole = [r for r in rows if r["status"] == "ok"]
    assert len(whole) > 10
    for row in whole:
        assert row["input_tokens"] == row["asked_input_tokens"]
        assert row["output_tokens"] == row["asked_output_tokens"] == raw.timed_tokens(row) + row["untimed_tokens"]


def test_even_arrivals_are_even(measured):
    manifest, rows = measured["even"]
    assert {round((b - a) * 1e6) for a, b in pairwise(due_s(rows))} == {50_000}
    assert manifest["client"]["rate_asked_per_s"] == pytest.approx(20, abs=0.5)
    assert [r["request"] for r in rows] == list(range(len(rows)))


def test_rates_that_change_do(measured):
    for kind in ("ramp", "steps"):
        _, rows = measured[kind]
        due = due_s(rows)
        # Half of the time on average, were the rate the same throughout.
        assert fmean(due) > 0.55 * due[-1]
    assert {8 <= r["asked_input_tokens"] <= 40 for r in measured["ramp"][1]} == {True}


def test_a_trace_is_replayed_with_its_lengths(measured):
    manifest, rows = measured["trace"]
    assert {round((b - a) * 1e6) for a, b in pairwise(due_s(rows))} == {50_000}
    lengths = [(min(20 + n, 40), 4 + n % 8) for n in range(130)]
    asked = [(r["asked_input_tokens"], r["asked_output_tokens"]) for r in rows]
    first = next(n for n in range(130) if lengths[n : n + len(asked)] == asked)
    assert first > 0, "the part with the median load is not the first"
    assert manifest["factors"]["workload"]["load"] == {"percentile": 50.0}


def test_a_fraction_is_of_the_rate_that_was_found(measured):
    manifest, rows = measured["fraction"]
    highest = manifest["client"]["highest_rate_per_s"]
    assert highest > 1
    rate = (len(rows) - 1) / due_s(rows)[-1]
    assert rate == pytest.approx(highest / 2, rel=0.5)


def test_own_prompts_are_counted_by_the_engine_and_end_naturally(measured):
    _, rows = measured["own"]
    assert {r["asked_input_tokens"] for r in rows} == {None}
    whole = [r for r in rows if r["status"] == "ok"]
    assert len({r["input_tokens"] for r in whole}) == len(OWN)
    assert all(1 <= r["output_tokens"] <= 8 for r in whole)
    assert {r["finish_reason"] for r in whole} <= {"stop", "length"}


def test_conversations_grow(measured):
    _, rows = measured["talk"]
    by_number = {r["request"]: r for r in rows}
    later = [r for r in rows if r["request"] % 3 and r["status"] == "ok"]
    assert len(later) > 5
    for row in later:
        assert row["input_tokens"] == by_number[row["request"] - 1]["asked_input_tokens"] + OUTPUT_TOKENS + 32
