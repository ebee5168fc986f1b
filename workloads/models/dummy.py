"""Configurations for dummy weights: complete ``config.json`` files of the catalogue's models, without the hub.

With weights that an engine draws by itself, a model's size and shape can be measured for speed and energy; its answers
mean nothing. The catalogue holds what parameters follow from; what is added here is what the model classes ask for
besides, at the values that the families have in common. None of it changes the work per token.
"""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.models.catalogue import catalogue

_PRECISIONS = ("bf16", "fp16", "f32", "fp8", "fp8-tensor", "fp8-channel", "fp8-block", "int8-w8a8", "w4a16")
_OF_EXPERTS = ("mxfp4",)
"""Published only for experts of this one family, whose class reads it."""

_CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
}
_COMMON: dict[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "llama": {"mlp_bias": False, "pretraining_tp": 1},
    "qwen3": {"use_sliding_window": False, "sliding_window": None},
    "qwen3_moe": {
        "use_sliding_window": False,
        "sliding_window": None,
        "norm_topk_prob": True,
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    },
    "mixtral": {"output_router_logits": False, "router_aux_loss_coef": 0.02},
    "gpt_oss": {"swiglu_limit": 7.0, "experts_per_token": 4, "initial_context_length": 4096},
}


def dummy_precisions(name: str) -> tuple[str, ...]:
    """Return the precisions that the configuration of ``name`` can ask for; others an engine makes, or not at all.

    Empty for a model whose configuration is not known.
    """
    entry = catalogue().get(name)
    family = entry.config.get("model_type") if entry is not None else None
    if family not in _CLASSES:
        return ()
    return (*_PRECISIONS, *_OF_EXPERTS) if family == "gpt_oss" else _PRECISIONS


def dummy_config(name: str, quantization: str) -> dict[str, Any]:
    """Return a new, complete ``config.json`` of the catalogue's model ``name`` with weights in ``quantization``.

    Raises BadInput where the catalogue does not have it, or the precision cannot be written so.
    """
    entry = catalogue().get(name)
    family = str(entry.config.get("model_type")) if entry is not None else ""
    if entry is None or family not in _CLASSES:
        raise BadInput(f"the configuration of {name} is not known: dummy weights need a model of the catalogue")
    if quantization not in dummy_precisions(name):
        raise BadInput(
            f"dummy weights of {name} are made in {', '.join(dummy_precisions(name))}, not in {quantization}"
        )
    dtype = {"fp16": "float16", "f32": "float32"}.get(quantization, "bfloat16")
    scheme = _scheme(quantization)
    return {
        **_COMMON,
        **_OF_FAMILY[family],
        **entry.config,
        "architectures": [_CLASSES[family]],
        "torch_dtype": dtype,
        "dtype": dtype,
        **({"quantization_config": scheme} if scheme else {}),
    }


def _scheme(quantization: str) -> dict[str, Any] | None:
    """Return the ``quantization_config`` of published checkpoints in this precision."""
    if quantization == "fp8-block":
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}
    if quantization == "mxfp4":
        kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
        return {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    weights = {
        "fp8": _numbers("float", 8, "tensor"),
        "fp8-tensor": _numbers("float", 8, "tensor"),
        "fp8-channel": _numbers("float", 8, "channel"),
        "int8-w8a8": _numbers("int", 8, "channel"),
        "w4a16": {**_numbers("int", 4, "group"), "group_size": 128},
    }.get(quantization)
    if weights is None:
        return None
    activations = None if quantization == "w4a16" else {**_numbers(str(weights["type"]), 8, "token"), "dynamic": True}
    layouts = {"int8-w8a8": "int-quantized", "w4a16": "pack-quantized"}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": layouts.get(quantization, "float-quantized"),
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head", "re:.*mlp.gate$", "re:.*block_sparse_moe.gate$"],
        "kv_cache_scheme": None,
    }


def _numbers(kind: str, bits: int, strategy: str) -> dict[str, Any]:
    return {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, "dynamic": False}
