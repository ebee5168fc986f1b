"""What plan and run make of failures that the warehouse has, and of --force."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from joulemark.orchestrator.learnt import failures
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart, TrialManifest
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.workloads.matrix import Place, expand
from joulemark.workloads.sweep import parse_sweep

SWEEP = """
schema: 1
name: small
matrix: {model: tiny-dense, quantization: [q4_0, q8_0], engine: llamacpp, concurrency: [1, 4]}
workload: {input_tokens: 32, output_tokens: 16}
measure: {repeats: 1, warmup: 0.5s, window: 2s}
"""
SIZES = """
schema: 1
name: sizes
matrix: {model: tiny-dense, engine: vllm, accelerator: cpu, parallel: [{tensor: 1}, {tensor: 4}], concurrency: 1}
workload: {input_tokens: 32, output_tokens: 16}
"""
DAY_US = 86_400_000_000
NOON_US = 1_795_176_000 * 1_000_000


def cells():
    return expand(parse_sweep(SWEEP, "s")).cells


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse.at(tmp_path / "records")


def tried(warehouse, cell, failure_class, *, day=0, outcome="failed", start="s1", attempt=0):
    """One trial of ``cell`` that ended so, ``day`` days after 2026-11-20."""
    at_us = NOON_US + day * DAY_US
    window = Interval(at_us + 1, at_us + 2) if outcome == "done" else None
    engine = EngineRecord("llamacpp", "1", start, (), {}, {}, None, "")
    manifest = TrialManifest(
        f"{cell.cell_id}-d-s0r0a{attempt}", cell.cell_id, cell.deployment.deployment_id, "small", 0, 0, attempt,
        cell.factors, 1, 1, outcome, (), (NodePart("node-a", "boot", ("cpu",), "cpu", window),), at_us, at_us + 9,
        failure_class=failure_class, error="it\nsaid why" if failure_class else None, engine=engine,
    )  # fmt: skip
    commit(warehouse, manifest)


def joulemark(folder, *arguments, code=0):
    environment = {**os.environ, "JOULEMARK_HOME": str(folder / "home"), "JOULEMARK_WAREHOUSE": str(folder / "records")}
    program = str(Path(sys.executable).with_name("joulemark"))
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_warehouse_that_does_not_exist_has_taught_nothing(warehouse):
    assert failures(warehouse) == {}


@pytest.mark.parametrize("failure_class", ["unsupported", "bad_checkpoint", "out_of_memory"])
def test_failures_of_the_deployment_itself_are_kept(warehouse, failure_class):
    cell = cells()[0]
    tried(warehouse, cell, failure_class)
    ((found,),) = failures(warehouse).values()
    assert (found.deployment, found.failure_class) == (cell.deployment.deployment_id, failure_class)
    assert (found.date, found.node, found.error) == ("2026-11-20", "node-a", "it\nsaid why")
    assert (found.concurrency, found.context_tokens) == (1, 48)


@pytest.mark.parametrize("failure_class", ["engine_died", "not_ready", "not_installed", "disk_full", "interrupted"])
def test_failures_of_the_moment_are_not(warehouse, failure_class):
    tried(warehouse, cells()[0], failure_class)
    assert failures(warehouse) == {}


def test_what_worked_since_is_forgotten_and_what_worked_before_is_not(warehouse):
    first, second = cells()[0], cells()[2]
    tried(warehouse, first, "unsupported")
    tried(warehouse, first, None, day=1, outcome="done", attempt=1)
    tried(warehouse, second, None, outcome="done")
    tried(warehouse, second, "bad_checkpoint", day=1, attempt=1)
    assert list(failures(warehouse)) == [second.deployment.deployment_id]


def test_memory_that_a_start_ran_out_of_is_that_of_its_highest_load(warehouse):
    one, four = cells()[:2]
    assert one.deployment == four.deployment
    for cell in (one, four):
        tried(warehouse, cell, "out_of_memory")
    ((found,),) = failures(warehouse).values()
    assert found.concurrency == 4
    left = expand(parse_sweep(SWEEP, "s"), Place(failures=failures(warehouse)))
    assert [c.workload.concurrency for c in left.cells] == [1, 1, 4]


def test_plan_says_what_was_learnt_and_force_plans_it(tmp_path, warehouse):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    for cell in cells()[:2]:
        tried(warehouse, cell, "bad_checkpoint")
    said = joulemark(tmp_path, "plan", "sweep.yaml").stdout
    assert "excluded, learnt: tiny-dense q4_0 llamacpp cpu 32/16 x1: failed on 2026-11-20 on node-a" in said
    assert "(bad_checkpoint): it said why" in said
    assert "--force" in said
    assert "to run: 2 in 1 engine starts" in said
    forced = json.loads(joulemark(tmp_path, "plan", "sweep.yaml", "--force", "--json").stdout)
    assert forced["wanted"] == 4
    assert forced["excluded"] == []
    assert [f["kind"] for f in forced["forced"]] == ["learnt"] * 2


def test_plan_says_what_cannot_work(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SIZES)
    plan = json.loads(joulemark(tmp_path, "plan", "sweep.yaml", "--json").stdout)
    (excluded,) = plan["excluded"]
    assert excluded["kind"] == "incompatible"
    assert excluded["reason"].startswith("6 attention heads of tiny-dense cannot be shared out")
    lines = joulemark(tmp_path, "plan", "sweep.yaml", "--force").stdout
    assert "  forced: tiny-dense bf16 vllm cpu tp4: 6 attention heads" in lines
    assert "excluded" not in lines


def test_a_version_without_a_requirement_set_is_said_by_plan(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SIZES + 'engines: {vllm: {version: "0.31.7"}}\n')
    done = joulemark(tmp_path, "plan", "sweep.yaml", code=2)
    assert "there is no pinned requirement set for vllm 0.31.7 (there is: 0.32.0)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_without_anything_left_says_why(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SIZES.replace("[{tensor: 1}, {tensor: 4}]", "{tensor: 4}"))
    done = joulemark(tmp_path, "run", "sweep.yaml", code=2)
    assert "no cell is left" in done.stderr
    assert "--force overrules that" in done.stderr


def test_factors_do_not_tell_of_force():
    sweep = parse_sweep(SIZES, "s")
    forced, plain = expand(sweep, force=True).cells, expand(sweep).cells
    assert plain[0] == forced[0]
    assert replace(forced[1].deployment, parallel=plain[0].deployment.parallel) == plain[0].deployment
