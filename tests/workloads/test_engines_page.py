"""docs/engines.md and the tables of the sweep file's page say what the catalogues say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from joulemark.workloads.accelerators import accelerators, capability_in_words
from joulemark.workloads.engines.common import COMMON, SPECULATIVE_METHODS
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS

DOCS = Path(__file__).parents[2] / "docs"
ENGINES = (DOCS / "engines.md").read_text(encoding="utf-8")
SWEEP = (DOCS / "sweep-file.md").read_text(encoding="utf-8")


def rows(page, first):
    """Cells of the table rows that begin with ``first``."""
    found = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", page, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found]


def words(capability):
    return "" if capability is None else capability_in_words(capability)


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_bits_and_meaning_of_precisions(name):
    precision = QUANTIZATIONS[name]
    (row,) = [r for r in rows(SWEEP, f"`{name}`") if len(r) == 3 and r[0] in ("vllm, sglang", "llamacpp", "all")]
    assert (float(row[1]), row[2]) == (precision.bits, precision.meaning)


@pytest.mark.parametrize("name", [n for n, p in QUANTIZATIONS.items() if "vllm" in p.engines])
def test_needs_of_precisions(name):
    precision = QUANTIZATIONS[name]
    ((native, vllm, made_by_vllm, cpu, sglang, made_by_sglang),) = rows(ENGINES, f"`{name}`")
    assert native == words(precision.native)
    assert cpu == (precision.engines["vllm"].cpu or "")
    for engine, least, made in (("vllm", vllm, made_by_vllm), ("sglang", sglang, made_by_sglang)):
        needs = precision.engines[engine]
        assert least.startswith(words(needs.capability))
        assert ("below" in least) == (needs.gone_at is not None)
        assert (f"`{needs.online}`" in made) == (needs.online is not None)
        assert ("experts only" in made) == (needs.online_of == "experts")


@pytest.mark.parametrize("name", KV_TYPES)
def test_kv_types(name):
    (row,) = [r for r in rows(SWEEP, f"`{name}`") if len(r) == 5]
    assert float(row[0]) == KV_TYPES[name].bits
    assert [engine for engine, cell in zip(("vllm", "sglang", "llamacpp"), row[1:4], strict=True) if cell] == [
        engine for engine in ("vllm", "sglang", "llamacpp") if engine in KV_TYPES[name].words
    ]


@pytest.mark.parametrize("label", accelerators())
def test_accelerators(label):
    ((capability, memory),) = rows(ENGINES, label)
    known = accelerators()[label]
    assert (capability, memory) == (words(known.capability), f"{(known.memory_bytes or 0) >> 30} GiB")


@pytest.mark.parametrize("name", COMMON)
def test_common_options_name_the_arguments_that_they_become(name):
    ((_, vllm, sglang),) = rows(ENGINES, f"`{name}`")
    said = vllm.replace("[no-]", "") + sglang
    first = [COMMON[name].engines[engine][0] for engine in ("vllm", "sglang")]
    kin = {"enforce-eager": "compilation-config", "disable-cuda-graph": "cuda-graph-backend-decode"}
    assert all(f"--{kin.get(argument, argument)}" in said for argument in first)
    assert f"`{name}`" in SWEEP


def test_methods_of_speculation_are_named():
    assert all(f"`{method}`" in ENGINES for method in SPECULATIVE_METHODS)
