"""Golden command lines of all that the two GPU engines can be asked for, and what is refused with a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Parallel
from joulemark.workloads.engines.adapter import StartFacts
from joulemark.workloads.engines.catalogue import engine_named, refusal
from joulemark.workloads.engines.common import COMMON
from joulemark.workloads.precision import QUANTIZATIONS, kv_words

sys.path.insert(0, str(Path(__file__).parent))
from command_lines import CASES, FACTS, MOE, Case, argv, deployment

ALL = [(engine, name) for engine, cases in CASES.items() for name in cases]


@pytest.mark.parametrize(("engine", "name"), ALL)
def test_the_line_has_the_words(engine, name):
    case = CASES[engine][name]
    assert f" {case.words} " in f" {' '.join(argv(engine, case))} "


@pytest.mark.parametrize(("engine", "name"), ALL)
def test_no_option_stands_twice_and_no_value_is_empty(engine, name):
    words = argv(engine, CASES[engine][name])
    options = [word for word in words if word.startswith("--")]
    assert len(options) == len(set(options))
    assert all(words)
    assert not any("None" in word for word in words)


@pytest.mark.parametrize("engine", CASES)
def test_every_common_option_kv_type_and_online_precision_has_a_case(engine):
    given = [case.given for case in CASES[engine].values()]
    asked = {key.partition(".")[0] for g in given for key in g.get("args", {})}
    assert {name for name, option in COMMON.items() if engine in option.engines} <= asked
    have = {"auto", *(g.get("kv_type") for g in given)}
    words = kv_words(engine)
    assert {words[kind] for kind in have if kind} == set(words.values())
    online = {name for name, p in QUANTIZATIONS.items() if engine in p.engines and p.engines[engine].online}
    assert online == {g["quantization"] for g in given if "quantization" in g}


@pytest.mark.parametrize(
    ("engine", "args", "says"),
    [
        ("vllm", {"prefix_caching": True, "enable-prefix-caching": True}, "the vllm argument 'enable-prefix-caching'"),
        ("sglang", {"prefix_caching": False, "disable-radix-cache": True}, "say the same thing: give one of them"),
        ("vllm", {"cuda_graphs": False, "enforce-eager": False}, "'enforce-eager' say the same"),
        ("sglang", {"max_batched_tokens": 9, "chunked-prefill-size": 8}, "engine.max_batched_tokens"),
        ("vllm", {"speculative.method": "ngram", "speculative.tokens": 2, "spec-tokens": 3}, "engine.speculative and"),
        ("vllm", {"prefix_caching": "yes"}, "engine.prefix_caching is true or false, found 'yes'"),
        ("vllm", {"max_batched_tokens": 0}, "whole number of at least 1"),
        ("sglang", {"memory_fraction": 1.5}, "over 0 and up to 1"),
        ("vllm", {"moe_backend": 3}, "is a word"),
        ("vllm", {"speculative": "ngram"}, "is a mapping such as"),
        ("vllm", {"speculative.method": "ngramm", "speculative.tokens": 2}, "did you mean ngram"),
        ("vllm", {"speculative.method": "ngram"}, "needs tokens"),
        ("sglang", {"speculative.method": "eagle", "speculative.tokens": 2}, "the method eagle needs a model"),
        ("vllm", {"speculative.method": "ngram", "speculative.tokens": 2, "speculative.model": "m"}, "takes no model"),
        ("vllm", {"nnodes": 2}, "joulemark places ranks on nodes"),
        ("sglang", {"attn-dp-size": 2}, "use the parallel axis"),
    ],
)
def test_what_contradicts_itself_is_one_line(engine, args, says):
    with pytest.raises(BadInput) as caught:
        argv(engine, Case("", {"accelerator": "H100", "args": args}))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_an_engine_has_no_lever_for_is_left_out():
    assert refusal(deployment("llamacpp", {"quantization": "q8_0", "kv_type": "f16", "args": {"prefix_caching": True}}))
    assert refusal(deployment("vllm", {"args": {"cuda_graphs": True}})) == "CUDA graphs need a GPU"
    batched = Case("", {"quantization": "q8_0", "kv_type": "f16", "args": {"max_batched_tokens": 512}})
    assert argv("llamacpp", batched)[-2:] == ("--set", "n_batch=512")


@pytest.mark.parametrize("engine", CASES)
@pytest.mark.parametrize(
    ("parallel", "says"),
    [
        (Parallel(tensor=16, nodes=2), "would reach across nodes"),
        (Parallel(tensor=3, nodes=2), "cannot be shared out evenly over 2 nodes"),
        (Parallel(tensor=8, pipeline=2, nodes=2), None),
    ],
)
def test_tensor_parallelism_stays_within_a_node(engine, parallel, says):
    found = refusal(deployment(engine, {"accelerator": "H100", "parallel": parallel}))
    assert found is None if says is None else says in found


def test_sglang_has_no_whole_replicas_across_nodes():
    replicas = {"accelerator": "H100", "parallel": Parallel(data=2, nodes=2)}
    assert refusal(deployment("vllm", replicas)) is None
    assert "expert: true" in refusal(deployment("sglang", replicas))


def test_only_engines_that_span_nodes_are_asked_to():
    over = {"accelerator": "H100", "quantization": "bf16", "parallel": Parallel(data=2, nodes=2)}
    assert (
        refusal(deployment("simulated", over))
        == "simulated runs on one node: parallel: {nodes: 2} is for vllm and sglang"
    )


def test_models_of_dummy_weights_need_no_hub():
    dummy = {"accelerator": "H100", "model": CASES["vllm"]["dummy"].given["model"]}
    for engine in CASES:
        found = engine_named(engine).command(deployment(engine, dummy), FACTS)
        assert found.environment["HF_HUB_OFFLINE"] == "1"
        real = engine_named(engine).command(deployment(engine, {"accelerator": "H100", "model": MOE}), FACTS)
        assert "HF_HUB_OFFLINE" not in real.environment


def test_only_the_first_node_listens():
    first, second = (argv("vllm", CASES["vllm"][f"pipeline over 2 nodes, {which}"]) for which in ("first", "second"))
    assert "--port" in first
    assert not {"--port", "--host"} & set(second)
    assert StartFacts("/m", 1, 1, 1).span is None
