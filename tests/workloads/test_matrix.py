"""From sweep to cells: what is in, what is out and why, and identities that never move."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.warehouse.errors import BadInput, UnknownModel
from joulemark.warehouse.schema.identity import canonical_json
from joulemark.workloads.cell import Parallel
from joulemark.workloads.matrix import Omission, Place, describe, expand
from joulemark.workloads.models.generated import generated_config
from joulemark.workloads.sweep import parse_sweep

HEAD = "schema: 1\nname: s\nworkload: {input_tokens: 96, output_tokens: 48, seed: 7}\n"
MEASURE = "measure: {warmup: 1s, window: 4s}\n"


def cells_of(matrix: str, more: str = "", folder=None):
    return expand(parse_sweep(f"{HEAD}{MEASURE}matrix: {matrix}\n{more}\n", "s.yaml", folder))


def test_one_cell_s_identity_never_changes():
    (cell,) = cells_of("{model: tiny-moe, quantization: q4_0, concurrency: 8}").cells
    assert canonical_json(cell.factors) == GOLDEN
    assert cell.cell_id == "baf1a46bef39dedc"


def test_a_gpu_cell_s_identity_never_changes():
    text = (
        "{model: qwen3-30b-a3b, quantization: fp8, kv_type: fp8, engine: vllm, accelerator: H100, "
        "parallel: {tensor: 2, expert: true}, power_limit_w: 500, request.temperature: 0.5, concurrency: 64}"
    )
    (cell,) = cells_of(text, "engines: {vllm: {args: {max_model_len: 8192}}}").cells
    assert json.loads(canonical_json(cell.factors)) == json.loads(GOLDEN_GPU)
    assert cell.cell_id == "d0aff189489f61a7"


AXES = {
    "model": ["tiny-dense", "tiny-moe"],
    "quantization": ["f16", "q8_0", "q4_0"],
    "kv_type": ["f16", "q8_0"],
    "concurrency": [1, 2, 8],
    "engine.n_batch": [256, 512],
    "request.temperature": [0.0, 1.0],
    "workload": ["{input_tokens: 9, output_tokens: 3}", "{seed: 4}"],
}


def _matrix(axes) -> str:
    return "{" + ", ".join(f"{name}: [{', '.join(map(str, values))}]" for name, values in axes) + "}"


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.sets(st.sampled_from(sorted(AXES)), min_size=1))
def test_ids_do_not_depend_on_the_order_of_keys_or_values(rng: random.Random, names):
    chosen = {name: AXES[name] for name in names | {"model"}}
    shuffled = [(name, rng.sample(values, len(values))) for name, values in chosen.items()]
    rng.shuffle(shuffled)
    plain = cells_of(_matrix(chosen.items()))
    mixed = cells_of(_matrix(shuffled))
    assert {c.cell_id for c in plain.cells} == {c.cell_id for c in mixed.cells}
    expected = 1
    for values in chosen.values():
        expected *= len(values)
    assert len(plain.cells) == expected


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_ids_do_not_depend_on_the_other_cells(data):
    part = {name: data.draw(st.sets(st.sampled_from(values), min_size=1)) for name, values in AXES.items()}
    small = cells_of(_matrix((n, sorted(v, key=str)) for n, v in part.items()))
    assert {c.cell_id for c in small.cells} <= ALL_IDS


ALL_IDS = {c.cell_id for c in cells_of(_matrix(AXES.items())).cells}


def test_facts_of_the_place_and_repeats_are_not_in_the_identity():
    plain = cells_of("{model: tiny-dense}").cells
    more = "slo: {ttft_p99: 1s}\nengines: {llamacpp: {environment: ./venv}}"
    assert [c.cell_id for c in cells_of("{model: tiny-dense}", more).cells] == [c.cell_id for c in plain]
    renamed = f"{HEAD}matrix: {{model: tiny-dense}}\nmeasure: {{warmup: 1s, window: 4s, repeats: 9, starts: 2}}"
    assert [c.cell_id for c in expand(parse_sweep(renamed, "other.yaml")).cells] == [c.cell_id for c in plain]


def test_the_window_is_in_the_identity_and_so_is_the_seed():
    plain = cells_of("{model: tiny-dense}").cells[0].cell_id
    longer = f"{HEAD}matrix: {{model: tiny-dense}}\nmeasure: {{warmup: 1s, window: 5s}}"
    assert expand(parse_sweep(longer, "s")).cells[0].cell_id != plain
    assert cells_of("{model: tiny-dense, workload: {seed: 8}}").cells[0].cell_id != plain


def test_cells_come_models_first_and_concurrency_last():
    found = cells_of("{concurrency: [8, 1], quantization: [q4_0, f16], model: [tiny-moe, tiny-dense]}").cells
    order = [(c.deployment.model.name, c.deployment.quantization, c.workload.concurrency) for c in found]
    assert order == [(m, q, c) for m in ("tiny-moe", "tiny-dense") for q in ("q4_0", "f16") for c in (8, 1)]


def test_cells_of_one_deployment_stand_together():
    found = cells_of(
        "{request.temperature: [0, 1], concurrency: [1, 8], engine.n_batch: [256, 512], model: tiny-dense}"
    ).cells
    ids = [c.deployment.deployment_id for c in found]
    assert len(set(ids)) == 2
    assert ids == sorted(ids, key=ids.index)
    assert ids[:4] == [ids[0]] * 4


def test_equal_cells_are_one():
    assert len(cells_of("{model: [tiny-dense, tiny-dense], concurrency: [1, 1, 8]}").cells) == 2
    assert len(cells_of("{model: [qwen3-8b, Qwen/Qwen3-8B], engine: vllm}").cells) == 1


def test_defaults():
    (cell,) = cells_of("{model: tiny-dense}").cells
    deployment = cell.deployment
    assert (deployment.engine.name, deployment.engine.version) == ("llamacpp", "2026.10.11549")
    assert (deployment.accelerator, deployment.quantization, deployment.kv_type) == ("cpu", "f16", "f16")
    assert (deployment.parallel, cell.workload.concurrency) == (Parallel(), 1)
    (gpu,) = cells_of("{model: qwen3-8b, engine: vllm}").cells
    assert (gpu.deployment.accelerator, gpu.deployment.quantization, gpu.deployment.kv_type) == ("any", "bf16", "auto")
    (oss,) = cells_of("{model: gpt-oss-20b, engine: vllm}").cells
    assert oss.deployment.quantization == "mxfp4"


def test_versions_are_exact_by_place_by_sweep_and_by_value():
    def version(matrix, more=""):
        return cells_of(matrix, more).cells[0].deployment.engine.version

    assert version("{model: tiny-dense, engine: vllm}") == "0.33.0"
    assert version("{model: tiny-dense, engine: vllm, accelerator: cpu}") == "0.32.0"
    assert version("{model: tiny-dense, engine: vllm}", "engines: {vllm: {version: '0.31.0'}}") == "0.31.0"
    both = '{model: tiny-dense, engine: {name: vllm, version: "0.30.0"}}'
    assert version(both, "engines: {vllm: {version: '0.31.0'}}") == "0.30.0"


def test_any_is_what_the_place_has():
    text = f"{HEAD}matrix: {{model: tiny-dense, engine: [llamacpp, vllm], accelerator: [any, H200]}}\n"
    sweep = parse_sweep(text + "exclude: [{accelerator: H200}]", "s")
    found = expand(sweep, Place(any_accelerator="H100")).cells
    assert [c.deployment.accelerator for c in found] == ["cpu", "H100"]
    named = expand(parse_sweep(f"{HEAD}matrix: {{model: tiny-dense, engine: vllm, accelerator: H100}}", "s")).cells
    assert named[0].cell_id == found[1].cell_id
    without = parse_sweep(text + "exclude: [{accelerator: any, engine: vllm}]", "s")
    left = expand(without, Place(any_accelerator="H100")).cells
    assert [(c.deployment.engine.name, c.deployment.accelerator) for c in left] == [
        ("llamacpp", "cpu"),
        ("vllm", "H200"),
    ]


def test_arguments_later_over_earlier_in_one_spelling():
    found = cells_of(
        "{model: tiny-dense, engine: {name: vllm, args: {max_num_seqs: 4}}, engine.block-size: [16, null]}",
        "engines: {vllm: {args: {max-num-seqs: 2, --block_size: 32, seed: 1}}}",
    ).cells
    assert [c.deployment.engine.args for c in found] == [
        {"block-size": 16, "max-num-seqs": 4, "seed": 1},
        {"max-num-seqs": 4, "seed": 1},
    ]


def test_request_parameters():
    (cell,) = cells_of("{model: tiny-dense, request.top_p: 0.5, workload: {request: {temperature: 0}}}").cells
    assert cell.workload.request == {"temperature": 0, "top_p": 0.5}


def test_links_are_no_product():
    found = cells_of(
        "{model: qwen3-8b, link: [{engine: vllm, quantization: fp8}, {engine: sglang, quantization: bf16}], "
        "concurrency: [1, 2]}"
    ).cells
    assert [(c.deployment.engine.name, c.deployment.quantization, c.workload.concurrency) for c in found] == [
        ("vllm", "fp8", 1),
        ("vllm", "fp8", 2),
        ("sglang", "bf16", 1),
        ("sglang", "bf16", 2),
    ]


def test_selections_take_what_fits_from_the_catalogue():
    def names(selection):
        found = cells_of(f"{{model: {selection}, engine: vllm}}").cells
        return [c.deployment.model.name for c in found]

    assert names('{architecture: moe, active_params: "<5e9"}') == ["qwen3-30b-a3b", "gpt-oss-20b"]
    assert names('{architecture: dense, total_params: ">1B,<10B"}') == ["llama-3.1-8b", "llama-3.2-1b", "qwen3-8b"]
    assert names("{source: generated}") == ["tiny-dense", "tiny-moe"]
    assert names('[tiny-dense, {architecture: moe, total_params: "<21B"}]') == ["tiny-dense", "gpt-oss-20b"]


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(BadInput, match=r"s.yaml:5:17: no model of the catalogue"):
        cells_of('{model: {total_params: ">1e15"}}')


def test_exclude_matches_in_part():
    found = cells_of(
        "{model: [tiny-dense, tiny-moe], engine: vllm, parallel: [{tensor: 1}, {tensor: 2, expert: true}]}",
        "exclude: [{model: tiny-dense, parallel: {expert: true}}]",
    )
    assert [(c.deployment.model.name, c.deployment.parallel.tensor) for c in found.cells] == [
        ("tiny-dense", 1),
        ("tiny-moe", 1),
        ("tiny-moe", 2),
    ]
    assert found.excluded == (Omission("tiny-dense bf16 vllm any tp2 ep", "excluded at s.yaml:6:11", "excluded"),)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("{concurrency: [1, 8]}", {2}),
        ("{concurrency: 1, quantization: f16}", {1, 2, 8}),
        ("{model: tiny-dense, concurrency: 2}", {1, 8}),
        ("{model: {architecture: dense}, concurrency: 2}", {1, 8}),
        ("{workload: {seed: 7}, concurrency: 2}", {1, 8}),
        ("{engine: {name: llamacpp, version: 2026.10.11549}, concurrency: 2}", {1, 8}),
        ("{engine.n_batch: null, concurrency: 8}", {1, 2}),
        ("{request.top_p: null, accelerator: cpu, kv_type: auto, concurrency: 8}", {1, 2}),
    ],
)
def test_what_exclude_may_name(exclude, left):
    found = cells_of("{model: tiny-dense, quantization: [f16, q8_0], concurrency: [1, 2, 8]}", f"exclude: [{exclude}]")
    assert {c.workload.concurrency for c in found.cells} == left


def test_an_exclude_that_matches_nothing_is_a_warning():
    found = cells_of("{model: tiny-dense}", "exclude:\n- {concurrency: 2}\n- {model: qwen3-8b}")
    assert found.warnings == (
        "s.yaml:7:3: this exclude entry matches nothing",
        "s.yaml:8:3: this exclude entry matches nothing",
    )


def test_include_adds_over_exclude_and_may_name_more_axes():
    found = cells_of(
        "{model: tiny-dense, concurrency: [1, 8]}",
        "exclude: [{concurrency: 8}]\ninclude: [{model: tiny-moe, concurrency: 8, quantization: q4_0}]",
    )
    assert [describe(c) for c in found.cells] == [
        "tiny-dense f16 llamacpp cpu 96/48 tokens x1",
        "tiny-moe q4_0 llamacpp cpu 96/48 tokens x8",
    ]
    assert set(found.facts) == {"tiny-dense", "tiny-moe"}


def test_an_include_that_adds_nothing_is_a_warning():
    found = cells_of("{model: tiny-dense}", "include: [{model: tiny-dense, concurrency: 1}]")
    assert len(found.cells) == 1
    assert "adds nothing" in found.warnings[0]


def test_combinations_that_no_engine_has_are_left_out_with_the_reason():
    found = cells_of("{model: tiny-dense, engine: [llamacpp, vllm], quantization: [q4_0, bf16], concurrency: [1, 8]}")
    assert len(found.cells) == 4
    assert {e.what: e.why for e in found.excluded} == {
        "tiny-dense bf16 llamacpp cpu": "llamacpp has no quantization bf16",
        "tiny-dense q4_0 vllm any": "vllm has no quantization q4_0",
    }


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("{model: qwen3-8b, engine: llamacpp}", "llama.cpp reads GGUF files"),
        ("{model: tiny-dense, engine: llamacpp, accelerator: H100}", "llama.cpp is run on the CPU only"),
        ("{model: tiny-dense, engine: llamacpp, parallel: {tensor: 2}}", "llama.cpp runs on one device"),
        ("{model: tiny-dense, engine: llamacpp, power_limit_w: 100}", "a power limit needs a GPU"),
        (
            "{model: tiny-moe, engine: vllm, quantization: mxfp4}",
            "tiny-moe is made in bf16, fp16, fp8, int8-w8a8, w4a16",
        ),
        ("{model: qwen3-8b, engine: vllm, quantization: gptq}", "qwen3-8b is there in bf16, not in gptq"),
        ("{model: gpt-oss-20b, engine: vllm, quantization: bf16}", "gpt-oss-20b is there in mxfp4, not in bf16"),
        ("{model: mixtral-8x7b, engine: vllm, quantization: int8-w8a8}", "there in bf16, not in int8-w8a8"),
        ("{model: tiny-dense, engine: sglang, kv_type: q8_0}", "sglang has no KV-cache type q8_0"),
        ("{model: {name: tiny-dense, weights: dummy}, engine: vllm}", "dummy weights are for models from the hub"),
    ],
)
def test_what_cannot_be_asked_for(cell, reason):
    with pytest.raises(BadInput, match="no cell is left") as caught:
        cells_of(cell)
    assert reason in str(caught.value)
    with pytest.raises(BadInput, match=r"s.yaml:6:11: this cell cannot be included") as caught:
        cells_of("{model: tiny-dense}", f"include: [{cell}]")
    assert reason in str(caught.value)


def test_precisions_come_from_checkpoints_or_from_the_engine():
    def weights(matrix):
        deployment = cells_of(matrix).cells[0].deployment
        return deployment.model.location, deployment.engine.args

    assert weights("{model: qwen3-8b, engine: vllm, quantization: fp8}") == ("Qwen/Qwen3-8B-FP8", {})
    assert weights("{model: qwen3-8b, engine: vllm, quantization: fp16}") == ("Qwen/Qwen3-8B", {})
    hub = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    assert weights("{model: mixtral-8x7b, engine: vllm, quantization: fp8}") == (
        hub,
        {"quantization": "fp8_per_tensor"},
    )
    assert weights("{model: mixtral-8x7b, engine: sglang, quantization: fp8}") == (hub, {"quantization": "fp8"})
    assert weights("{model: a/b, engine: vllm, quantization: awq}") == ("a/b", {})


def test_dummy_weights_need_a_configuration_only():
    def deployment(matrix):
        return cells_of(matrix).cells[0].deployment

    block = deployment("{model: {name: qwen3-32b, weights: dummy}, engine: vllm, quantization: fp8-block}")
    assert (block.model.weights, block.quantization, block.engine.args) == ("dummy", "fp8-block", {})
    made = deployment("{model: {name: qwen3-32b, weights: dummy}, engine: vllm, quantization: mxfp8}")
    assert made.engine.args == {"quantization": "mxfp8"}
    with pytest.raises(BadInput, match="dummy weights of qwen3-32b are made in bf16"):
        cells_of("{model: {name: qwen3-32b, weights: dummy}, engine: vllm, quantization: awq}")
    elsewhere = deployment("{model: {name: org/m, weights: dummy}, engine: sglang, quantization: awq}")
    assert (elsewhere.model.location, elsewhere.engine.args) == ("org/m", {})


def test_common_options_are_one_axis_for_both_engines():
    found = cells_of(
        "{model: qwen3-8b, engine: [vllm, sglang, llamacpp], engine.prefix-caching: [true, false], "
        "engine.speculative: [null, {method: ngram, tokens: 3}]}",
        "exclude: [{engine.speculative: {method: ngram, tokens: 3}, engine: sglang}]",
    )
    args = [(c.deployment.engine.name, c.deployment.engine.args) for c in found.cells]
    draft = {"speculative.method": "ngram", "speculative.tokens": 3}
    assert len(args) == 6
    assert ("sglang", {"prefix_caching": False}) in args
    assert ("vllm", {"prefix_caching": True, **draft}) in args
    assert {e.kind for e in found.excluded} == {"excluded", "refused"}


def test_a_later_speculation_replaces_an_earlier_one_as_a_whole():
    settings = "engines: {vllm: {args: {speculative: {method: eagle, tokens: 4, model: org/d}}}}"
    (cell,) = cells_of("{model: qwen3-8b, engine: vllm, engine.speculative: {method: mtp, tokens: 1}}", settings).cells
    assert cell.deployment.engine.args == {"speculative.method": "mtp", "speculative.tokens": 1}
    (cell,) = cells_of("{model: qwen3-8b, engine: vllm, engine.speculative: null}", settings).cells
    assert cell.deployment.engine.args == {}
    with pytest.raises(BadInput, match=r"s.yaml:5:62: unknown key 'token' in speculative"):
        cells_of("{model: qwen3-8b, engine: vllm, engine.speculative: {token: 1}}")


def test_a_local_folder_is_held_against_its_own_config(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    scheme = {"quant_method": "awq", "bits": 4}
    (folder / "config.json").write_text(json.dumps({**generated_config("tiny-dense"), "quantization_config": scheme}))
    found = cells_of("{model: ./m, engine: vllm, quantization: [awq, gptq]}", folder=tmp_path)
    assert [c.deployment.quantization for c in found.cells] == ["awq"]
    assert "m is there in awq, not in gptq" in found.excluded[0].why
    assert found.facts["m"].layers == 8


def test_a_gguf_file_tells_its_precision_by_its_name(tmp_path):
    (tmp_path / "Some-Model-Q4_K_M.gguf").write_bytes(b"GGUF")
    (cell,) = cells_of("{model: ./Some-Model-Q4_K_M.gguf}", folder=tmp_path).cells
    assert cell.deployment.quantization == "q4_k_m"


def test_unknown_models_are_named_with_their_place():
    with pytest.raises(UnknownModel, match=r"s.yaml:5:30: no model is called 'tiny-mo': did you mean tiny-moe"):
        cells_of("{model: [tiny-dense, tiny-mo]}")
    with pytest.raises(UnknownModel, match=r"s.yaml:6:19: no model is called 'tiny-danse'"):
        cells_of("{model: tiny-dense}", "exclude: [{model: tiny-danse}]")


def test_arguments_that_joulemark_sets_are_refused_before_anything_starts():
    with pytest.raises(
        BadInput, match=r"the vllm argument 'tensor-parallel-size' cannot be given: use the parallel axis"
    ):
        cells_of("{model: tiny-dense, engine: vllm, engine.tensor_parallel_size: 2}")
    with pytest.raises(BadInput, match=r"'n_parallel' cannot be given: use the concurrency axis"):
        cells_of("{model: tiny-dense}", "engines: {llamacpp: {args: {n-parallel: 2}}}")


GOLDEN = (
    '{"accelerator":"cpu","engine":{"args":{},"name":"llamacpp","version":"2026.10.11549"},"kv_type":"f16'
    '","model":{"location":"tiny-moe","name":"tiny-moe","revision":null,"source":"generated","weights":"g'
    'enerated"},"parallel":{"data":1,"expert":false,"pipeline":1,"tensor":1},"power_limit_w":null,"quanti'
    'zation":"q4_0","window":{"warmup_s":1,"window_s":4},"workload":{"arrivals":"closed","concurrency":8,'
    '"input_tokens":96,"output_tokens":48,"request":{},"seed":7}}'
)
GOLDEN_GPU = (
    '{"accelerator":"H100","engine":{"args":{"max-model-len":8192},"name":"vllm","version":"0.33.0"},"kv_'
    'type":"fp8","model":{"location":"Qwen/Qwen3-30B-A3B-FP8","name":"qwen3-30b-a3b","revision":null,"sou'
    'rce":"hub","weights":"real"},"parallel":{"data":1,"expert":true,"pipeline":1,"tensor":2},"power_limi'
    't_w":500,"quantization":"fp8","window":{"warmup_s":1,"window_s":4},"workload":{"arrivals":"closed","'
    'concurrency":64,"input_tokens":96,"output_tokens":48,"request":{"temperature":0.5},"seed":7}}'
)
