"""The catalogue of precisions: complete, sourced, and what checkpoints say of themselves."""

from __future__ import annotations

import pytest

from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.checkpoint import precision_of_config
from joulemark.workloads.models.dummy import dummy_config, dummy_precisions
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS, UNQUANTIZED, is_a, kv_words, quantizations_of

FLOATS = {"num_bits": 8, "type": "float"}


def compressed(weights, activations=None):
    group = {"weights": weights, "input_activations": activations}
    return {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}}


def test_names_that_sweeps_have_used_stay():
    assert {"bf16", "fp16", "f32", "fp8", "int8-w8a8", "w4a16", "awq", "gptq", "nvfp4", "mxfp4"} <= set(QUANTIZATIONS)
    assert set(UNQUANTIZED) == {"bf16", "fp16", "f32", "f16"}
    assert set(quantizations_of("gguf")) & set(quantizations_of("hf")) == {"f32"}
    assert set(kv_words("llamacpp")) == {
        "f32", "bf16", "f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl",
    }  # fmt: skip


@pytest.mark.parametrize("name", quantizations_of("hf"))
def test_every_precision_of_folders_says_what_it_needs_and_where_that_stands(name):
    precision = QUANTIZATIONS[name]
    assert set(precision.engines) == {"vllm", "sglang"}
    assert precision.sources
    for needs in precision.engines.values():
        assert needs.capability is not None
        assert needs.methods or name in UNQUANTIZED
        assert needs.online_of in (None, "experts")
        assert {needs.cpu, needs.cpu_online} <= {None, "all", "dense"}
    assert precision.is_a in (None, *QUANTIZATIONS)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("fp8-block", 8 + 32 / (128 * 128)),
        ("mxfp8", 8 + 8 / 32),
        ("mxfp4", 4 + 8 / 32),
        ("nvfp4", 4 + 8 / 16),
        ("w4a16", 4 + 16 / 128),
        ("awq", 4 + 16 / 128 + 4 / 128),
        ("q8_0", 8 + 16 / 32),
        ("q4_0", 4 + 16 / 32),
    ],
)
def test_bits_are_those_of_numbers_and_scales(name, bits):
    assert QUANTIZATIONS[name].bits == pytest.approx(bits, abs=0.1)


def test_kv_types_have_words_and_bits():
    for name, kind in KV_TYPES.items():
        assert kind.words, name
        assert 4 <= kind.bits <= 32, name


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"dtype": "bfloat16"}, "bf16"),
        ({"torch_dtype": "torch.float16"}, "fp16"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8-tensor"),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8-block"),
        ({"quantization_config": {"quant_method": "fbgemm_fp8"}}, "fp8-channel"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, "fp8-tensor"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "int8-w8a16"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 3}}, None),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        (compressed({**FLOATS, "strategy": "tensor"}, FLOATS), "fp8-tensor"),
        (compressed({**FLOATS, "strategy": "channel"}, FLOATS), "fp8-channel"),
        (compressed({**FLOATS, "strategy": "block"}, FLOATS), "fp8-block"),
        (compressed({"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "int"}), "int8-w8a8"),
        (compressed({"num_bits": 8, "type": "int"}), "int8-w8a16"),
        (compressed({"num_bits": 4, "type": "int"}), "w4a16"),
        (compressed({"num_bits": 4, "type": "float"}, {"num_bits": 4, "type": "float"}), "nvfp4"),
        (compressed({"num_bits": 2, "type": "int"}), None),
    ],
)
def test_checkpoints_tell_their_precision(config, name):
    assert precision_of_config(config) == name


def test_a_special_case_is_what_is_meant_by_the_general_name():
    assert is_a("fp8-block", "fp8")
    assert is_a("fp8", "fp8")
    assert not is_a("fp8", "fp8-block")
    assert not is_a("mxfp8", "fp8")


HUB = [name for name, entry in catalogue().items() if entry.source == "hub"]


@pytest.mark.parametrize("name", HUB)
def test_models_of_the_catalogue_have_licences_and_checkpoints_in_known_precisions(name):
    entry = catalogue()[name]
    assert entry.licence in ("apache-2.0", "llama3.1", "llama3.2")
    assert set(entry.checkpoints) <= set(quantizations_of("hf"))


@pytest.mark.parametrize(("name", "quantization"), [(name, q) for name in HUB for q in dummy_precisions(name)])
def test_configurations_for_dummy_weights_are_in_the_precision_asked_for(name, quantization):
    config = dummy_config(name, quantization)
    assert is_a(precision_of_config(config), quantization)
    assert config["architectures"][0].endswith("ForCausalLM")
    assert config.items() >= catalogue()[name].config.items()
    assert dummy_config(name, quantization) is not config
