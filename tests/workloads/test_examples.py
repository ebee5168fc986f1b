"""The examples and every block of the reference are read and multiplied out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from joulemark.agents.models.gguf import FORMATS
from joulemark.agents.models.schemes import SCHEMES
from joulemark.workloads.matrix import expand
from joulemark.workloads.models.generated import PRESETS, generated_quantizations
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS
from joulemark.workloads.site import parse_site
from joulemark.workloads.sweep import load_sweep, parse_sweep
from joulemark.workloads.sweep.presets import PRESETS as WORKLOADS
from joulemark.workloads.sweep.read import KEYS, SLO_KEYS
from joulemark.workloads.sweep.values import PLAIN_AXES
from joulemark.workloads.sweep.workload_fields import ARRIVALS, STOPS, WORKLOAD_FIELDS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "workloads" / "examples").glob("*.yaml") if p.name != "site.yaml")
REFERENCE = (ROOT / "docs" / "sweep-file.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", REFERENCE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_expand_without_warnings(path):
    expansion = expand(load_sweep(path))
    assert expansion.cells
    assert expansion.warnings == ()
    assert {c.deployment.model.name for c in expansion.cells} <= set(expansion.facts)


def test_the_quickstart_is_two_by_two_by_two():
    cells = expand(load_sweep(ROOT / "workloads/examples/quickstart.yaml")).cells
    assert len(cells) == 8
    assert len({c.deployment.deployment_id for c in cells}) == 4
    assert all(c.deployment.on_cpu for c in cells)


def test_vllm_on_the_cpu_asks_only_for_what_runs():
    cells = expand(load_sweep(ROOT / "workloads/examples/vllm-cpu.yaml")).cells
    asked = {(c.deployment.model.name, c.deployment.quantization) for c in cells}
    assert asked == {("tiny-dense", q) for q in ("bf16", "int8-w8a8", "w4a16")} | {("tiny-moe", "bf16")}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_reference_is_read(number, tmp_path):
    block = BLOCKS[number]
    if "\ncurrency:" in block:
        assert parse_site(block, "docs/sweep-file.md").name
        return
    head = "" if "schema:" in block else "schema: 1\nname: block\n"
    concurrency = "" if re.search("rate:|load:", block) else ", concurrency: [1, 8]"
    matrix = "" if "matrix:" in block else f"matrix: {{model: qwen3-8b, engine: [vllm, sglang]{concurrency}}}\n"
    needs = "" if "workload:" in block else "workload: {input_tokens: 96, output_tokens: 48}\n"
    _files(block, tmp_path)
    expansion = expand(parse_sweep(head + matrix + needs + block, "docs/sweep-file.md", tmp_path))
    assert expansion.cells
    assert expansion.warnings == ()


def _files(block, folder):
    """Make the traces that a block names: an hour with a request a second."""
    for name in re.findall(r"file: ([\w.]+csv)", block):
        rows = "".join(f"2023-11-16 18:{m:02}:{s:02}.5,374,44\n" for m in range(60) for s in range(60))
        (folder / name).write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}")


def test_the_reference_holds_blocks_and_names_everything():
    assert len(BLOCKS) >= 10
    limits = {part for key in SLO_KEYS for part in key.split("_")}
    words = (*KEYS, *limits, *PLAIN_AXES, *QUANTIZATIONS, *KV_TYPES, *WORKLOADS, *ARRIVALS, *STOPS)
    missing = [word for word in words if f"`{word}`" not in REFERENCE]
    missing += [word for word in WORKLOAD_FIELDS if not re.search(rf"`{word}[`:]", REFERENCE)]
    assert missing == []


@pytest.mark.parametrize("preset", PRESETS)
def test_generated_precisions_are_those_that_the_generator_makes(preset):
    assert sorted(generated_quantizations(preset, "hf")) == sorted(SCHEMES)
    assert sorted(generated_quantizations(preset, "gguf")) == sorted(FORMATS)
